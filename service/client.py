"""The service from the other side: small typed clients on httpx, one that waits and one for asyncio.

What is asked, how an answer is read and when to try again is said once; the two clients only send and sleep.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx

from service.api.schemas import Answer, Listing
from service.errors import ClientError
from service.types import FIELD

Parsed = TypeVar("Parsed")
Parameter = str | int | float | None
# A file name, and the bytes.
Picture = tuple[str, bytes]
# Answers after which the same request may be granted.
LATER = (429, 503)


@dataclass(frozen=True)
class Call(Generic[Parsed]):
    """What to ask, and what the answer is."""

    read: Callable[[bytes], Parsed]
    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)

    def parse(self, response: httpx.Response) -> Parsed:
        """What an answer says; raise AnswerError for a problem, or what is no answer of ours."""
        if response.status_code != 200:
            raise _refusal(response)
        try:
            return self.read(response.content)
        except ValueError as error:  # which ValidationError and UnicodeDecodeError are
            raise ClientError("what answers there is not a Slimbayes service of this version") from error


MODELS = Call(Listing.model_validate_json, "GET", "/models")


def predicting(pictures: Sequence[Picture], parameters: dict[str, Parameter]) -> Call[Answer]:
    """The call that posts pictures; parameters that are None are left to the service."""
    query = {name: value for name, value in parameters.items() if value is not None}
    return Call(
        Answer.model_validate_json,
        "POST",
        "/predict",
        {"params": query, "files": [(FIELD, picture) for picture in pictures]},
    )


def carding(model: str, version: str) -> Call[str]:
    """The call that gets the card of a version."""
    return Call(bytes.decode, "GET", f"/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/card")


class Connection:
    """What both clients have in common: whom they ask, with which key, and for how long they try again.

    `url` is where the service is, `key` an API key, `timeout` in seconds for each request, `patience` the seconds that
    a call may wait altogether where the service says when to try again; `ca_file` has the authorities to trust, in PEM.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        patience: float = 30.0,
        ca_file: Path | None = None,
    ) -> None:
        self.url, self.patience = url, patience
        self._options: dict[str, Any] = {
            "base_url": _checked(url),
            "headers": {} if key is None else {"Authorization": f"Bearer {key}".encode()},
            "timeout": timeout,
            "trust_env": False,
            "verify": True if ca_file is None else _authorities(ca_file),
        }

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise ClientError(f"cannot reach {self.url}: {error}") from error


class Client(Connection):
    """Talks to one service; use it in a `with` block."""

    def __enter__(self) -> Self:
        self._http = httpx.Client(**self._options)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def predict(self, pictures: Sequence[Picture], **parameters: Parameter) -> Answer:
        """Post pictures; parameters that are None are left to the service.

        Raises AnswerError where the service cannot be reached or answers with a problem.
        """
        return self._ask(predicting(pictures, parameters))

    def models(self) -> Listing:
        """Everything that the service serves."""
        return self._ask(MODELS)

    def card(self, model: str, version: str) -> str:
        """The model card of a version or alias, in Markdown; raise AnswerError where there is none."""
        return self._ask(carding(model, version))

    def ready(self) -> bool:
        """Whether the service can answer now."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _ask(self, call: Call[Parsed]) -> Parsed:
        left = self.patience
        while True:
            with self._reaching():
                response = self._http.request(call.method, call.path, **call.options)
            pause = _pause(response, left)
            if pause is None:
                return call.parse(response)
            left -= pause
            time.sleep(pause)


class AsyncClient(Connection):
    """The same for asyncio; use it in an `async with` block."""

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(**self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def predict(self, pictures: Sequence[Picture], **parameters: Parameter) -> Answer:
        """As `Client.predict`."""
        return await self._ask(predicting(pictures, parameters))

    async def models(self) -> Listing:
        """As `Client.models`."""
        return await self._ask(MODELS)

    async def card(self, model: str, version: str) -> str:
        """As `Client.card`."""
        return await self._ask(carding(model, version))

    async def ready(self) -> bool:
        """As `Client.ready`."""
        try:
            return (await self._http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def _ask(self, call: Call[Parsed]) -> Parsed:
        left = self.patience
        while True:
            with self._reaching():
                response = await self._http.request(call.method, call.path, **call.options)
            pause = _pause(response, left)
            if pause is None:
                return call.parse(response)
            left -= pause
            await asyncio.sleep(pause)


def _pause(response: httpx.Response, left: float) -> float | None:
    """Seconds after which to try again, where the service names a time that is not too long."""
    named = response.headers.get("retry-after", "")
    if response.status_code not in LATER or not named.isascii() or not named.isdigit():
        return None
    seconds = max(1.0, float(named))
    return seconds if seconds <= left else None


def _refusal(response: httpx.Response) -> ClientError:
    """The problem that an answer describes; what is no problem document is quoted."""
    detail, image = response.text[:200], None
    try:
        problem = response.json()
        detail, image = str(problem["detail"]), problem.get("image")
    except (ValueError, KeyError, TypeError):
        pass
    status = response.status_code
    return ClientError(f"the service answered {status}: {detail}", status, image if isinstance(image, int) else None)


def _checked(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is no address of a service: expected one such as http://127.0.0.1:8000") from error


def _authorities(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # which ssl.SSLError is
        raise ClientError(f"cannot read the authorities in {path}: {error.strerror or 'expected PEM'}") from error
