"""Keep objects in a bucket of S3 (`s3://bucket/folder`), Google Cloud (`gs://`) or Azure (`az://`), through obstore.

Endpoint and credentials come from the variables that the services' own tools read: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and so on, else from the machine's role. Transient failures
are retried a bounded number of times. Refusals are explained by the code in the error document, else by status.

S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
Azure: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from model_store.errors import (
    ObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from model_store.storage.object_storage import ObjectInfo

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

SCHEMES = ("s3", "gs", "az")
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
# Variables with a custom endpoint. TLS is required unless it begins with http://.
ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
CONNECT_TIMEOUT = timedelta(seconds=3)
# Between two parts of a response, and for a whole request.
READ_TIMEOUT, TOTAL_TIMEOUT = timedelta(seconds=6), timedelta(minutes=10)
RETRY: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# Read at a time; larger writes may keep a store silent for longer than READ_TIMEOUT.
CHUNK_BYTES = 2**20

ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")
ERROR_STATUS = re.compile(r"status code: (\d{3})")
OS_ERROR = re.compile(r'Os \{[^}]*message: "([^"]+)"')
# Metadata service of cloud machines, the source of their role's credentials.
METADATA_HOST = "169.254.169.254"

WRONG_KEY = "the credentials are wrong"
DENIED = "the credentials do not allow it"
NO_BUCKET = "there is no such bucket"
CLOCK_SKEW = "this machine's clock is not right: the store refuses requests that are dated too far from its own time"
WRONG_REGION = "the bucket is in another region: set AWS_REGION"
REASONS = {
    "SignatureDoesNotMatch": WRONG_KEY,
    "InvalidAccessKeyId": WRONG_KEY,
    "InvalidToken": WRONG_KEY,
    "AuthenticationFailed": WRONG_KEY,
    "ExpiredToken": "the credentials have expired",
    "AccessDenied": DENIED,
    "AuthorizationFailure": DENIED,
    "AuthorizationPermissionMismatch": DENIED,
    "InsufficientAccountPermissions": DENIED,
    "NoSuchBucket": NO_BUCKET,
    "ContainerNotFound": NO_BUCKET,
    "RequestTimeTooSkewed": CLOCK_SKEW,
    "AuthorizationHeaderMalformed": WRONG_REGION,
    "PermanentRedirect": WRONG_REGION,
    "NotImplemented": "the server does not support it; for conditional writes set AWS_CONDITIONAL_PUT=disabled",
}


class BucketStorage:
    """Objects of a bucket whose keys begin with the URL's path."""

    def __init__(self, url: str) -> None:
        self.scheme, _, rest = url.partition("://")
        self.bucket, _, prefix = rest.partition("/")
        self.prefix = prefix.strip("/")
        if self.scheme not in SCHEMES or BUCKET_NAME.fullmatch(self.bucket) is None or {"?", "#"} & set(prefix):
            # The URL is not repeated: it may contain a key before an @.
            raise StoreNotFoundError(f"expected {self.scheme}://BUCKET/FOLDER; credentials come from the environment")
        self.endpoint = next(filter(None, map(os.environ.get, ENDPOINTS[self.scheme])), None)
        parts = urlsplit(self.endpoint or "https://default")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreNotFoundError(f"the endpoint of {self.scheme}:// must be a URL such as https://s3.example.org")

    @property
    def url(self) -> str:
        return "/".join(filter(None, (f"{self.scheme}://{self.bucket}", self.prefix)))

    @property
    def client(self) -> S3Store | GCSStore | AzureStore:
        """Return obstore's client, for ranged reads and listings; its errors are obstore's."""
        return self._slow_client

    @property
    def shows_unfinished_versions(self) -> bool:
        return True

    def check(self, *, writable: bool = False) -> None:
        """Check that the bucket can be listed; only a write shows whether it can be written."""
        try:
            self.folders()
        except StoreUnavailableError as error:
            raise StoreUnavailableError(f"the store at {self.url} cannot be reached: {error}") from error
        except ObjectError as error:
            raise StoreNotFoundError(f"the store at {self.url} cannot be read: {error}") from error

    def folders(self) -> list[str]:
        with _as_object_errors():
            return sorted(self._client.list_with_delimiter()["common_prefixes"])

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        with _as_object_errors():
            found = [
                ObjectInfo(meta["path"], meta["size"], meta["last_modified"])
                for listed in self._client.list(prefix.rstrip("/"), chunk_size=1000)
                for meta in listed
            ]
        yield from sorted(found, key=lambda each: each.name)

    def read(self, name: str, limit: int) -> bytes:
        with _as_object_errors():
            result = self._client.get(name)
            size, data = min(limit, result.meta["size"]), bytearray()
            for chunk in result.stream(CHUNK_BYTES):
                data += chunk
                if len(data) >= size:
                    break
        if len(data) < size:
            raise StoreUnavailableError("the response was incomplete")
        return bytes(data[:size])

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        try:
            self._put(name, data, "create" if new else "overwrite")
        except ObjectExistsError:
            # A retry of this very call may have written it, if its first response was lost.
            if self.read(name, len(data) + 1) != data:
                raise

    def copy(self, source: str, target: str) -> bool:
        try:
            with _as_object_errors():
                size = self._client.head(source)["size"]
                self._slow_client.copy(source, target)
                return self._client.head(target)["size"] == size
        except ObjectNotFoundError:
            return False

    def delete(self, name: str) -> None:
        try:
            with _as_object_errors():
                self._client.delete(name)
        except ObjectNotFoundError:
            return

    def _put(self, name: str, data: bytes, mode: Literal["create", "overwrite"]) -> None:
        client = self._client if len(data) <= CHUNK_BYTES else self._slow_client
        with _as_object_errors():
            try:
                client.put(name, data, mode=mode, use_multipart=False)
            except NotImplementedError:  # AWS_CONDITIONAL_PUT=disabled, for servers that refuse such writes
                if self._exists(name):
                    raise ObjectExistsError("it is there already") from None
                client.put(name, data, use_multipart=False)

    def _exists(self, name: str) -> bool:
        try:
            self._client.head(name)
        except FileNotFoundError:
            return False
        return True

    @cached_property
    def _client(self) -> S3Store | GCSStore | AzureStore:
        return self._connect(
            {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT, "timeout": TOTAL_TIMEOUT}
        )

    @cached_property
    def _slow_client(self) -> S3Store | GCSStore | AzureStore:
        """Return the client for copies and long writes, during which a store is silent."""
        return self._connect({"connect_timeout": CONNECT_TIMEOUT, "timeout": TOTAL_TIMEOUT})

    def _connect(self, client: ClientConfig) -> S3Store | GCSStore | AzureStore:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store

        client["allow_http"] = (self.endpoint or "").startswith("http://")
        options: Any = {"prefix": self.prefix or None, "client_options": client, "retry_config": RETRY}
        try:
            if self.scheme == "s3":
                # Not every store supports bulk deletion.
                return S3Store(self.bucket, disable_bulk_delete=True, **options)
            return (GCSStore if self.scheme == "gs" else AzureStore)(self.bucket, **options)
        except (BaseError, ValueError) as error:
            raise ObjectError(f"its settings are wrong: {str(error).splitlines()[0]}") from error


@contextmanager
def _as_object_errors() -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        raise object_error(error) from error


def object_error(error: Exception) -> ObjectError:
    """Translate an error of obstore."""
    from obstore.exceptions import AlreadyExistsError, GenericError, PermissionDeniedError, UnauthenticatedError

    text = str(error)
    code, status = ERROR_CODE.search(text), ERROR_STATUS.search(text)
    if METADATA_HOST in text:
        return ObjectError("there are no credentials in the environment, and this machine has no role")
    if code and code[1] in REASONS:
        return ObjectError(f"{REASONS[code[1]]} ({code[1]})")
    if isinstance(error, FileNotFoundError):
        return ObjectNotFoundError("there is no such object")
    if isinstance(error, AlreadyExistsError):
        return ObjectExistsError("it is there already")
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return ObjectError(DENIED)
    if status:
        kind = StoreUnavailableError if status[1] in ("408", "429") or status[1] >= "500" else ObjectError
        return kind(f"it answers {status[1]}{f' {code[1]}' if code else ''}")
    if isinstance(error, GenericError | OSError):
        system = OS_ERROR.search(text)
        return StoreUnavailableError(f"it does not answer{f' ({system[1].lower()})' if system else ''}")
    return ObjectError(text.splitlines()[0])
