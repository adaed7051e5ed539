"""Everything that can go wrong in the service, with its HTTP status.

    ServiceError
    ├── StartError                   the service cannot start: its settings, store or port
    ├── ArtifactError                a level's file that must not be run
    ├── AnswerError                  what a client got instead of an answer
    └── RequestError                 a request that gets no answer
        ├── MalformedError     400   not in the form that it claims to be
        ├── UnknownNameError   404   no such model, version or level
        ├── TooLargeError      413   too many bytes, pixels or images
        ├── MediaTypeError     415   not an image type that we read
        ├── UndecodableError   422   an image that cannot be decoded
        ├── ParameterError     422   a parameter out of its range
        ├── OverloadedError    503   too much work waits already
        ├── NotReadyError      503   not ready to answer
        └── DeadlineError      504   the deadline passed before there was an answer

Messages go to clients: what was wrong, what was expected; never a path, a stack or an internal name.
"""

from __future__ import annotations

import re
from typing import ClassVar


class ServiceError(Exception):
    """Root of the service's errors."""


class StartError(ServiceError):
    """The service cannot start."""


class ArtifactError(ServiceError):
    """A level's file that must not be run."""


class AnswerError(ServiceError):
    """What a client got instead of an answer."""


class RequestError(ServiceError):
    """A request that gets no answer."""

    status: ClassVar[int] = 400
    # What it is counted as: its name, so that UnknownNameError is unknown_name.
    kind: ClassVar[str] = "request"

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<=.)(?=[A-Z])", "_", cls.__name__.removesuffix("Error")).lower()

    def headers(self) -> dict[str, str]:
        """Headers that go with the status."""
        return {}


class MalformedError(RequestError):
    """Not in the form that it claims to be."""


class UnknownNameError(RequestError):
    """No such model, version or level."""

    status = 404


class TooLargeError(RequestError):
    """Too many bytes, pixels or images."""

    status = 413


class MediaTypeError(RequestError):
    """Not an image type that we read."""

    status = 415


class UndecodableError(RequestError):
    """An image that cannot be decoded."""

    status = 422


class ParameterError(RequestError):
    """A parameter out of its range."""

    status = 422


class OverloadedError(RequestError):
    """Too much work waits already; try again after `retry_after` seconds."""

    status = 503

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class NotReadyError(RequestError):
    """Not ready to answer."""

    status = 503


class DeadlineError(RequestError):
    """The deadline passed before there was an answer."""

    status = 504
