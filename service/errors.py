"""Everything that can go wrong in the service, with its HTTP status.

    ServiceError
    ├── StartError                     the service cannot start: its settings, store or port
    ├── ArtifactError                  a level's file that must not be run
    ├── AnswerError                    what a client got instead of an answer
    ├── ScoringError                   what scoring cannot go on with
    │   └── UnreadableError            a single file that cannot be read, and will not be
    └── RequestError                   a request that gets no answer
        ├── MalformedError       400   not in the form that it claims to be
        ├── UnauthorizedError    401   no key, or a wrong one
        ├── ForbiddenError       403   a key that may not do this
        ├── UnknownNameError     404   no such model, version or level
        ├── SlowClientError      408   a body that took too long to arrive
        ├── UnwritableError      409   a store that cannot be changed from here
        ├── TooLargeError        413   too many bytes, pixels or images
        ├── MediaTypeError       415   not an image type that we read
        ├── MisdirectedError     421   meant for another host
        ├── UndecodableError     422   an image that cannot be decoded
        ├── ParameterError       422   a parameter out of its range
        ├── RetryError                 not now, but later
        │   ├── RateLimitError   429   more images than the client's rate
        │   ├── OverloadedError  503   too much work waits already
        │   └── FetchingError    503   a level's file is on its way from the store
        ├── NotReadyError        503   not ready to answer
        └── DeadlineError        504   the deadline passed before there was an answer

Messages go to clients: what was wrong, what was expected; never a path, a stack or an internal name.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Root of the service's errors."""


class StartupError(ServiceError):
    """The service cannot start."""


class ArtifactError(ServiceError):
    """A level's file that must not be run."""


class ClientError(ServiceError):
    """What a client got instead of an answer: the HTTP status, and the place of the image that it is about."""

    def __init__(self, message: str, status: int | None = None, image: int | None = None) -> None:
        super().__init__(message)
        self.status, self.image = status, image


class ScoringError(ServiceError):
    """What scoring cannot go on with; what it wrote stays, and it goes on from there when run again."""


class UnreadableError(ScoringError):
    """A single file that is not there or may not be read, however often one tries."""


class RequestError(ServiceError):
    """A request that gets no answer; `image` is the place of the image that it is about, where it is about one."""

    status: ClassVar[int] = 400
    # Label of metrics and field of logs; part of the interface, so that each class says its own.
    kind: ClassVar[str] = "request"

    def __init__(self, message: str, image: int | None = None) -> None:
        super().__init__(message)
        self.image = image

    def headers(self) -> dict[str, str]:
        """Headers that go with the status."""
        return {}


class MalformedError(RequestError):
    """Not in the form that it claims to be."""

    kind: ClassVar[str] = "malformed"


class UnauthorizedError(RequestError):
    """No key, or a wrong one; `code` is that of RFC 6750, where a key was sent."""

    status = 401
    kind: ClassVar[str] = "unauthorized"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="slimbayes"' + (f', error="{self.code}"' if self.code else "")}


class ForbiddenError(RequestError):
    """A key that may not do this."""

    status = 403
    kind: ClassVar[str] = "forbidden"


class NotFoundError(RequestError):
    """No such model, version or level."""

    status = 404
    kind: ClassVar[str] = "unknown_name"


class SlowClientError(RequestError):
    """A body that took too long to arrive."""

    status = 408
    kind: ClassVar[str] = "slow_client"

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class UnwritableError(RequestError):
    """A store that cannot be changed from here."""

    status = 409
    kind: ClassVar[str] = "unwritable"


class TooLargeError(RequestError):
    """Too many bytes, pixels or images."""

    status = 413
    kind: ClassVar[str] = "too_large"


class MediaTypeError(RequestError):
    """Not an image type that we read."""

    status = 415
    kind: ClassVar[str] = "media_type"


class MisdirectedError(RequestError):
    """Meant for another host."""

    status = 421
    kind: ClassVar[str] = "misdirected"


class UndecodableError(RequestError):
    """An image that cannot be decoded."""

    status = 422
    kind: ClassVar[str] = "undecodable"


class ParameterError(RequestError):
    """A parameter out of its range."""

    status = 422
    kind: ClassVar[str] = "parameter"


class RetryError(RequestError):
    """Not now: try again after `retry_after` seconds."""

    kind: ClassVar[str] = "retry"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class RateLimitError(RetryError):
    """More images than the client's rate."""

    status = 429
    kind: ClassVar[str] = "rate_limit"


class OverloadedError(RetryError):
    """Too much work waits."""

    status = 503
    kind: ClassVar[str] = "overloaded"


class FetchingError(RetryError):
    """A level's file is still on its way from the store."""

    status = 503
    kind: ClassVar[str] = "fetching"


class NotReadyError(RequestError):
    """Not ready to answer."""

    status = 503
    kind: ClassVar[str] = "not_ready"


class DeadlineError(RequestError):
    """The deadline passed before there was an answer."""

    status = 504
    kind: ClassVar[str] = "deadline"
