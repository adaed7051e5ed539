"""The service from the other side: a small typed client on httpx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from service.answer import Answer
from service.errors import AnswerError
from service.listing import Listing
from service.payload import FIELD

Parsed = TypeVar("Parsed", bound=BaseModel)


class Client:
    """Talks to one service; use it in a `with` block."""

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def predict(self, pictures: Sequence[tuple[str, bytes]], **parameters: str | int | float | None) -> Answer:
        """Post pictures, as (file name, bytes); parameters that are None are left to the service.

        Raises AnswerError where the service cannot be reached or answers with a problem.
        """
        files = [(FIELD, picture) for picture in pictures]
        query = {name: value for name, value in parameters.items() if value is not None}
        return _parse(Answer, self._send("POST", "/predict", params=query, files=files))

    def models(self) -> Listing:
        """Everything that the service serves."""
        return _parse(Listing, self._send("GET", "/models"))

    def ready(self) -> bool:
        """Whether the service can answer now."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int | float] | None = None,
        files: list[tuple[str, tuple[str, bytes]]] | None = None,
    ) -> bytes:
        try:
            response = self._http.request(method, path, params=params, files=files)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise AnswerError(f"cannot reach {self._http.base_url}: {error}") from error
        if response.status_code != 200:
            raise AnswerError(f"the service answered {response.status_code}: {_detail(response)}")
        return response.content


def _parse(kind: type[Parsed], data: bytes) -> Parsed:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise AnswerError("what answers there is not a Slimbayes service of this version") from error


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
