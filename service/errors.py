"""Errors of the service, with their HTTP status.

    ServiceError
    ├── StartupError                   the service cannot start: its settings, store or port
    ├── ArtifactError                  a level's file that must not be run
    │   └── TimeLimitError                 one whose networks take too long to build
    ├── ClientError                    a client's request that failed
    ├── ScoringError                   a scoring run that cannot go on
    │   └── UnreadableError            a single file that cannot be read, and never will be
    ├── RecalibrationError             pictures on which a version cannot be calibrated
    └── RequestError                   a request that is refused
        ├── MalformedError       400   not in the declared format
        ├── UnauthorizedError    401   no API key, or a wrong one
        ├── ForbiddenError       403   an API key without permission
        ├── NotFoundError        404   no such model, version or level
        ├── SlowClientError      408   a body that took too long to arrive
        ├── UnwritableError      409   a store that the service cannot write
        ├── RepeatedError        409   a label that was given already
        ├── TooLargeError        413   too many bytes, pixels or images
        ├── MediaTypeError       415   an unsupported media type
        │   └── EncodingError    415   an unsupported Content-Encoding
        ├── MisdirectedError     421   addressed to another host
        ├── UndecodableError     422   an image that cannot be decoded
        ├── ParameterError       422   a parameter out of range
        ├── RetryError                 refused for now: try again later
        │   ├── RateLimitError   429   the client's rate limit
        │   ├── OverloadedError  503   too much queued work
        │   └── FetchingError    503   a level's file that is still being fetched
        ├── NotFiniteError       500   a network that overflows on an image
        ├── NotReadyError        503   not ready to serve
        └── DeadlineError        504   the deadline passed before there was an answer

Messages are sent to clients: what was wrong and what was expected; never a path, a stack or an internal name.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """Base class of the service's errors."""


class StartupError(ServiceError):
    """Startup failed: bad settings, no usable store, or no port."""


class ArtifactError(ServiceError):
    """Level file that must not be run."""


class TimeLimitError(ArtifactError):
    """Level whose networks take too long to build, or to try."""


class ClientError(ServiceError):
    """Failed request of a client; `status` is the HTTP status, `image` the index of the image at fault, if any."""

    def __init__(self, message: str, status: int | None = None, image: int | None = None) -> None:
        super().__init__(message)
        self.status, self.image = status, image


class ScoringError(ServiceError):
    """Scoring cannot go on; what was written stays, and another run continues from there."""


class UnreadableError(ScoringError):
    """Single file that is missing or forbidden; trying again does not help."""


class RecalibrationError(ServiceError):
    """Labelled pictures on which a version cannot be calibrated."""


class RequestError(ServiceError):
    """Refused request; `image` is the index of the image at fault, if there is one."""

    status: ClassVar[int] = 400
    # Label of metrics and field of logs: an interface, so each class states its own.
    kind: ClassVar[str] = "request"

    def __init__(self, message: str, image: int | None = None) -> None:
        super().__init__(message)
        self.image = image

    def headers(self) -> dict[str, str]:
        """Return the headers that go with the status."""
        return {}


class MalformedError(RequestError):
    """Request that is not in the format it declares."""

    kind = "malformed"


class UnauthorizedError(RequestError):
    """Missing or wrong API key; `code` is that of RFC 6750, if a key was sent."""

    status, kind = 401, "unauthorized"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="slimbayes"' + (f', error="{self.code}"' if self.code else "")}


class ForbiddenError(RequestError):
    """API key without permission for this request."""

    status, kind = 403, "forbidden"


class NotFoundError(RequestError):
    """No such model, version or level."""

    status, kind = 404, "unknown_name"


class SlowClientError(RequestError):
    """Request body that took too long to arrive."""

    status, kind = 408, "slow_client"

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class UnwritableError(RequestError):
    """Store that the service cannot write."""

    status, kind = 409, "unwritable"


class RepeatedError(RequestError):
    """Label of an image that has one already."""

    status, kind = 409, "repeated"


class TooLargeError(RequestError):
    """Too many bytes, pixels or images."""

    status, kind = 413, "too_large"


class MediaTypeError(RequestError):
    """Unsupported media type."""

    status, kind = 415, "media_type"


class EncodingError(MediaTypeError):
    """Unsupported Content-Encoding; the response names those that are read (RFC 9110, section 15.5.16)."""

    status, kind = 415, "content_encoding"

    def headers(self) -> dict[str, str]:
        return {"Accept-Encoding": "gzip, deflate"}


class MisdirectedError(RequestError):
    """Request addressed to another host."""

    status, kind = 421, "misdirected"


class UndecodableError(RequestError):
    """Image that cannot be decoded."""

    status, kind = 422, "undecodable"


class ParameterError(RequestError):
    """Parameter out of range."""

    status, kind = 422, "parameter"


class RetryError(RequestError):
    """Refused for now: retry after `retry_after` seconds."""

    kind = "retry"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class RateLimitError(RetryError):
    """Client above its rate limit."""

    status, kind = 429, "rate_limit"


class OverloadedError(RetryError):
    """Too much queued work."""

    status, kind = 503, "overloaded"


class FetchingError(RetryError):
    """Level file that is still being fetched from the store."""

    status, kind = 503, "fetching"


class NotFiniteError(RequestError):
    """Network whose logits of an image are infinite or not a number: nothing can be said of it."""

    status, kind = 500, "not_finite"


class NotReadyError(RequestError):
    """Service not ready."""

    status, kind = 503, "not_ready"


class DeadlineError(RequestError):
    """Deadline passed before there was an answer."""

    status, kind = 504, "deadline"
