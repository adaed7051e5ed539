"""Requests to a registry over HTTP: tried again, redirected, let in, and what they mean when they are refused.

What fails for a moment is tried again, a bounded number of times, after as long as the registry says. Credentials go to
the registry itself and to no other host, wherever it sends one to.
"""

from __future__ import annotations

import json
import random
import ssl
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

import httpx

from model_store.errors import ObjectError, ObjectNotFoundError, StoreUnavailableError
from model_store.storage.oci.auth import DENIED, MAX_DOCUMENT_BYTES, Access, Request

CONNECT_TIMEOUT_S = 3.0
# Longest, in seconds, that nothing comes of what is read, of what is written, and that either goes on.
READ_TIMEOUT_S, WRITE_TIMEOUT_S, TOTAL_TIMEOUT_S = 6.0, 60.0, 600.0
RETRYABLE_STATUSES = {408, 429, 500, 502, 503, 504}
MAX_RETRIES = 3
FIRST_WAIT_S, MAX_WAIT_S = 0.1, 2.0
# Nothing is tried again later than that, but a file that is sent; nor is anything waited for longer.
MAX_RETRY_S = 15.0
MAX_REDIRECTS = 5
REDIRECT_STATUSES = {301, 302, 303, 307, 308}
READ_METHODS = ("GET", "HEAD")
REASONS = {
    "DENIED": DENIED,
    "UNSUPPORTED": "the registry does not allow it",
    "NAME_INVALID": "the registry allows no such name",
    "SIZE_INVALID": "the registry allows nothing so large",
    "TOOMANYREQUESTS": "the registry allows no more requests",
}

Done = TypeVar("Done")


class RetryableError(Exception):
    """What was tried may be tried again, after `wait` seconds where the registry says so."""

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    """What came back: `content` is its first bytes, up to the limit that was asked for."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def code(self) -> str:
        """The code in an error document, or nothing."""
        try:
            code = json.loads(self.content)["errors"][0]["code"]
        except (ValueError, LookupError, TypeError):
            return ""
        return code if isinstance(code, str) and code.isascii() and code.isidentifier() else ""


class Session:
    """Requests to the registry at `origin` for what lies below `place`, `host[:port]/repository`."""

    def __init__(self, origin: str, place: str) -> None:
        self.origin = httpx.URL(origin)
        self.plain = self.origin.scheme == "http"
        self.access = Access(place, plain=self.plain)
        headers = {"User-Agent": "slimbayes", "Accept-Encoding": "identity"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        # What speaks without TLS is next door: no proxy stands between.
        self._client = httpx.Client(headers=headers, limits=limits, trust_env=not self.plain)
        weakref.finalize(self, self._client.close)

    def request(self, request: Request) -> Answer:
        """The answer, whatever it is but one that tells to try again; StoreUnavailableError where there is none."""
        return self.retry(lambda: self.request_once(request))

    def retry(self, attempt: Callable[[], Done], within_s: float = MAX_RETRY_S) -> Done:
        """Retry."""
        end = time.monotonic() + within_s
        for number in range(MAX_RETRIES + 1):
            try:
                return attempt()
            except RetryableError as again:
                wait_s = min(FIRST_WAIT_S * 2**number, MAX_WAIT_S) * random.uniform(0.5, 1.0)
                wait_s = wait_s if again.wait_s is None else again.wait_s
                if number == MAX_RETRIES or wait_s > MAX_RETRY_S or time.monotonic() + wait_s > end:
                    raise StoreUnavailableError(str(again)) from again
                time.sleep(wait_s)
        raise AssertionError

    def request_once(self, request: Request) -> Answer:
        """One request, with those that it takes to be let in and to follow where it leads; may raise RetryableError."""
        url, challenged = self._url(self.origin, request.path), False
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send(self._authorized(request, url), url)
            if answer.status == 401 and self._is_home(url):
                challenge = answer.headers.get("WWW-Authenticate", "")
                if challenged:
                    raise self.access.refused(challenge)
                self.access.answer_challenge(challenge, request.scope, self._send_for_token)
                challenged = True
            elif answer.status in REDIRECT_STATUSES and request.method in READ_METHODS:
                url = self._url(url, answer.headers.get("Location", ""))
            else:
                return answer
        raise ObjectError("it sends one from place to place")

    def _authorized(self, request: Request, url: httpx.URL) -> Request:
        value = self.access.value(request.scope) if self._is_home(url) else None
        return replace(request, headers={**request.headers, "Authorization": value}) if value else request

    def _is_home(self, url: httpx.URL) -> bool:
        return _origin(url) == _origin(self.origin)

    def _url(self, base: httpx.URL, location: str) -> httpx.URL:
        try:
            url = base.join(location)
        except httpx.InvalidURL as error:
            raise ObjectError("it sends one to an address that is none") from error
        if url.scheme != "https" and not (self.plain and url.scheme == "http"):
            raise ObjectError("it sends one to a place that is not asked over TLS")
        return url

    def _send(self, request: Request, url: httpx.URL) -> Answer:
        """One request, and its answer up to the limit."""
        timeout = httpx.Timeout(
            READ_TIMEOUT_S if request.method in READ_METHODS else WRITE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S
        )
        stream = partial(self._client.stream, request.method, url, headers=request.headers, timeout=timeout)
        end, data = time.monotonic() + TOTAL_TIMEOUT_S, bytearray()
        try:
            with stream(content=request.content) as response:
                if response.status_code in RETRYABLE_STATUSES:
                    raise RetryableError(f"it answers {response.status_code}", _retry_after(response.headers))
                limit = request.limit if response.is_success else MAX_DOCUMENT_BYTES
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > limit:  # not sooner: read to its end, the connection can be used again
                        break
                    if time.monotonic() > end:
                        raise RetryableError("it takes too long")
        except httpx.RequestError as error:
            raise _no_answer(error) from error
        return Answer(response.status_code, response.headers, bytes(data[:limit]))

    def _send_for_token(self, request: Request) -> dict[str, Any] | None:
        answer = self._send(request, self._url(self.origin, request.path))
        if answer.status in (400, 401, 403):
            return None
        if answer.status != 200:
            raise ObjectError(f"the service that gives tokens answers {answer.status}")
        return json_object(answer)


def refusal(answer: Answer) -> ObjectError:
    """What an answer that is no success means."""
    if answer.status == 404:
        return ObjectNotFoundError("there is no such object")
    if answer.code in REASONS:
        return ObjectError(f"{REASONS[answer.code]} ({answer.code})")
    if answer.status in (403, 405):
        return ObjectError(DENIED if answer.status == 403 else REASONS["UNSUPPORTED"])
    return ObjectError(f"it answers {answer.status}{f' {answer.code}' if answer.code else ''}")


def json_object(answer: Answer) -> dict[str, Any]:
    """The JSON object that was answered; raise ObjectError where it is something else."""
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ObjectError("it answers something that registries do not")
    return document


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _no_answer(error: httpx.RequestError) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ObjectError("its certificate is not trusted here: SSL_CERT_FILE names whom to trust")
        cause = cause.__cause__ or cause.__context__
    return RetryableError("it does not answer")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, from a number of them or a date."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said[:9])
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
