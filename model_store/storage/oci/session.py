"""Send requests to a registry over HTTP: retry, follow redirects, authenticate, and explain refusals.

Transient failures are retried a bounded number of times, after the delay that the registry asks for. Credentials are
sent to the registry itself and to no other host, whatever the redirects.
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
# Between two parts of a response when reading and when writing, and for a whole response.
READ_TIMEOUT_S, WRITE_TIMEOUT_S, TOTAL_TIMEOUT_S = 6.0, 60.0, 600.0
RETRYABLE_STATUSES = {408, 429, 500, 502, 503, 504}
MAX_RETRIES = 3
FIRST_WAIT_S, MAX_WAIT_S = 0.1, 2.0
# Nothing but an upload is retried later than that, nor after a longer wait.
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

Result = TypeVar("Result")


class RetryableError(Exception):
    """An attempt failed and may be repeated, after `wait_s` seconds where the registry says so."""

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    """A response; `content` is its first bytes, up to the request's limit."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def code(self) -> str:
        """Return the code in an error document, or an empty text."""
        try:
            code = json.loads(self.content)["errors"][0]["code"]
        except (ValueError, LookupError, TypeError):
            return ""
        return code if isinstance(code, str) and code.isascii() and code.isidentifier() else ""


class Session:
    """HTTP session with the registry at `origin`, for `place`, a `host[:port]/repository`."""

    def __init__(self, origin: str, place: str) -> None:
        self.origin = httpx.URL(origin)
        self.plain = self.origin.scheme == "http"
        self.access = Access(place, plain=self.plain)
        headers = {"User-Agent": "slimbayes", "Accept-Encoding": "identity"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
        # A registry without TLS is a local one, which needs no proxy.
        self._client = httpx.Client(headers=headers, limits=limits, trust_env=not self.plain)
        weakref.finalize(self, self._client.close)

    def request(self, request: Request) -> Answer:
        """Return the response, after retries; raise StoreUnavailableError where none comes."""
        return self.retry(lambda: self.request_once(request))

    def retry(self, attempt: Callable[[], Result], within_s: float = MAX_RETRY_S) -> Result:
        """Call `attempt` until it raises no RetryableError.

        Raises StoreUnavailableError after too many attempts or `within_s` seconds.
        """
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
        """Send one request, authenticate and follow redirects; may raise RetryableError."""
        url, challenged = self._url(self.origin, request.path), False
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send(self._authorized(request, url), url)
            if answer.status == 401 and self._is_at_origin(url):
                challenge = answer.headers.get("WWW-Authenticate", "")
                if challenged:
                    raise self.access.refused(challenge)
                self.access.answer_challenge(challenge, request.scope, self._send_for_token)
                challenged = True
            elif answer.status in REDIRECT_STATUSES and request.method in READ_METHODS:
                url = self._url(url, answer.headers.get("Location", ""))
            else:
                return answer
        raise ObjectError("it redirects too often")

    def _authorized(self, request: Request, url: httpx.URL) -> Request:
        value = self.access.value(request.scope) if self._is_at_origin(url) else None
        return replace(request, headers={**request.headers, "Authorization": value}) if value else request

    def _is_at_origin(self, url: httpx.URL) -> bool:
        return _origin(url) == _origin(self.origin)

    def _url(self, base: httpx.URL, location: str) -> httpx.URL:
        try:
            url = base.join(location)
        except httpx.InvalidURL as error:
            raise ObjectError("it redirects to an invalid address") from error
        if url.scheme != "https" and not (self.plain and url.scheme == "http"):
            raise ObjectError("it redirects to a place that is not reached over TLS")
        return url

    def _send(self, request: Request, url: httpx.URL) -> Answer:
        """Send one request and read its response up to the limit."""
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
                    # Not sooner: a connection whose response was read to its end can be used again.
                    if len(data) > limit:
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
            raise ObjectError(f"the token service answers {answer.status}")
        return json_object(answer)


def refusal(answer: Answer) -> ObjectError:
    """Return the error for an unsuccessful response."""
    if answer.status == 404:
        return ObjectNotFoundError("there is no such object")
    if answer.code in REASONS:
        return ObjectError(f"{REASONS[answer.code]} ({answer.code})")
    if answer.status in (403, 405):
        return ObjectError(DENIED if answer.status == 403 else REASONS["UNSUPPORTED"])
    return ObjectError(f"it answers {answer.status}{f' {answer.code}' if answer.code else ''}")


def json_object(answer: Answer) -> dict[str, Any]:
    """Return the response's JSON object; raise ObjectError for anything else."""
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ObjectError("its response is not a registry's")
    return document


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _no_answer(error: httpx.RequestError) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ObjectError("its certificate is not trusted here: name its authority in SSL_CERT_FILE")
        cause = cause.__cause__ or cause.__context__
    return RetryableError("it does not answer")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds to wait, from a number or a date."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said[:9])
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
