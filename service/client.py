"""Typed clients of the service on httpx: `Client` blocks, `AsyncClient` is for asyncio.

Within a `with` block a client keeps its connections; without one, each call opens one and closes it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx

from model_store.text import written_name
from service.api.feedback_schemas import Counted
from service.api.schemas import Answer, Listing
from service.errors import ClientError
from service.pictures import Picture, picture_files
from service.types import FIELD

Parsed = TypeVar("Parsed")
Parameter = str | int | float | None
RETRYABLE_STATUSES = (429, 503)


@dataclass(frozen=True)
class Call(Generic[Parsed]):
    """Request, and the parser of its response."""

    parse_body: Callable[[bytes], Parsed]
    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)

    def parse(self, response: httpx.Response) -> Parsed:
        """Parse a response; raise ClientError for a problem document or a body that is no answer of the service."""
        if response.status_code != 200:
            raise _problem(response)
        try:
            return self.parse_body(response.content)
        except ValueError as error:  # the base of ValidationError and UnicodeDecodeError
            raise ClientError("the answer is not a Slimbayes response of this version") from error


MODELS = Call(Listing.model_validate_json, "GET", "/models")


def predict_call(images: Picture | Sequence[Picture], parameters: dict[str, Parameter]) -> Call[Answer]:
    """Build the call that posts images; the service chooses the parameters that are None."""
    query = {name: value for name, value in parameters.items() if value is not None}
    # A name on disk may be no text.
    files = [(FIELD, (written_name(name), data)) for name, data in picture_files(images)]
    return Call(Answer.model_validate_json, "POST", "/predict", {"params": query, "files": files})


def feedback_call(answer: Answer | str, label: str, image: int) -> Call[Counted]:
    """Build the call that tells the true label of an image that was answered."""
    request_id = answer if isinstance(answer, str) else answer.request_id
    document = {"request_id": request_id, "image": image, "label": label}
    return Call(Counted.model_validate_json, "POST", "/feedback", {"json": document})


def card_call(model: str, version: str) -> Call[str]:
    """Build the call that gets the model card of a version."""
    return Call(bytes.decode, "GET", f"/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/card")


class Connection:
    """Hold the address, API key and retry budget that both clients share."""

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
            "base_url": _parsed_url(url),
            "headers": {} if key is None else {"Authorization": f"Bearer {key}".encode()},
            "timeout": timeout,
            "trust_env": False,
            # Once, since each connection pool would read all authorities anew.
            "verify": httpx.create_ssl_context(trust_env=False) if ca_file is None else _ssl_context(ca_file),
        }

    @contextmanager
    def _transport_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise ClientError(f"cannot reach {self.url}: {error}") from error


class Client(Connection):
    """Blocking client of one service; a `with` block keeps its connections for several calls.

    `timeout` is in seconds, for each request. `patience` is the total time in seconds that a call may wait for retries
    at the times that the service names. `ca_file` has trusted certificate authorities, in PEM.
    """

    _http: httpx.Client | None = None

    def __enter__(self) -> Self:
        self._http = httpx.Client(**self._options)
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()
        self._http = None

    def predict(self, images: Picture | Sequence[Picture], **parameters: Parameter) -> Answer:
        """Post one image or several and return the predictions; the service chooses the parameters that are None.

        Images are paths, bytes of files, arrays uint8 [H, W] or [H, W, C], an array [N, H, W, C], or Pillow images.

        Raises ClientError if an image cannot be read, or the service is unreachable or refuses.
        """
        return self._call(predict_call(images, parameters))

    def feedback(self, answer: Answer | str, label: str, image: int = 0) -> None:
        """Tell the true label of an image of an answer, or of a request by its id; the service runs with --feedback.

        Raises ClientError for an answer that is not remembered, a label that is no class, and a second label.
        """
        self._call(feedback_call(answer, label, image))

    def models(self) -> Listing:
        """List the models, versions and levels that the service serves."""
        return self._call(MODELS)

    def card(self, model: str, version: str) -> str:
        """Return the model card of a version or alias, in Markdown; raise ClientError if there is none."""
        return self._call(card_call(model, version))

    def ready(self) -> bool:
        """Return whether the service is ready."""
        try:
            return self._request("GET", "/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        if self._http is not None:
            return self._http.request(method, path, **options)
        with httpx.Client(**self._options) as http:
            return http.request(method, path, **options)

    def _call(self, call: Call[Parsed]) -> Parsed:
        left_s = self.patience
        while True:
            with self._transport_errors():
                response = self._request(call.method, call.path, **call.options)
            pause = _retry_pause_s(response, left_s)
            if pause is None:
                return call.parse(response)
            left_s -= pause
            time.sleep(pause)


class AsyncClient(Connection):
    """Asyncio client of one service; see `Client`, whose parameters it has."""

    _http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(**self._options)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()
        self._http = None

    async def predict(self, images: Picture | Sequence[Picture], **parameters: Parameter) -> Answer:
        """Post one image or several and return the predictions; see `Client.predict`."""
        return await self._call(predict_call(images, parameters))

    async def feedback(self, answer: Answer | str, label: str, image: int = 0) -> None:
        """Tell the true label of an image that was answered; see `Client.feedback`."""
        await self._call(feedback_call(answer, label, image))

    async def models(self) -> Listing:
        """List the models, versions and levels that the service serves."""
        return await self._call(MODELS)

    async def card(self, model: str, version: str) -> str:
        """Return the model card of a version or alias, in Markdown; see `Client.card`."""
        return await self._call(card_call(model, version))

    async def ready(self) -> bool:
        """Return whether the service is ready."""
        try:
            return (await self._request("GET", "/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        if self._http is not None:
            return await self._http.request(method, path, **options)
        async with httpx.AsyncClient(**self._options) as http:
            return await http.request(method, path, **options)

    async def _call(self, call: Call[Parsed]) -> Parsed:
        left_s = self.patience
        while True:
            with self._transport_errors():
                response = await self._request(call.method, call.path, **call.options)
            pause = _retry_pause_s(response, left_s)
            if pause is None:
                return call.parse(response)
            left_s -= pause
            await asyncio.sleep(pause)


def _retry_pause_s(response: httpx.Response, left_s: float) -> float | None:
    """Return the seconds until a retry; None unless the service names a time within `left_s`."""
    named = response.headers.get("retry-after", "")
    if response.status_code not in RETRYABLE_STATUSES or not named.isascii() or not named.isdigit():
        return None
    seconds = max(1.0, float(named))
    return seconds if seconds <= left_s else None


def _problem(response: httpx.Response) -> ClientError:
    """Build the error from a problem document; quote any other body."""
    detail, image = response.text[:200], None
    try:
        problem = response.json()
        detail, image = str(problem["detail"]), problem.get("image")
    except (ValueError, KeyError, TypeError):
        pass
    status = response.status_code
    return ClientError(f"the service answered {status}: {detail}", status, image if isinstance(image, int) else None)


def _parsed_url(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is not the URL of a service: expected one such as http://127.0.0.1:8000") from error


def _ssl_context(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # the base of ssl.SSLError
        raise ClientError(f"cannot read authorities from {path}: {error.strerror or 'expected PEM'}") from error
