"""Keep objects in an OCI registry, `oci://host[:port]/repository`: a repository per model, an artifact per version.

Registries are reached over TLS, except on this machine and with `oci+http://`. Credentials are those of docker and
podman (`model_store.storage.oci.auth`); `model_store.storage.oci.artifact` describes the layout.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from model_store.errors import ObjectError, ObjectNotFoundError, StoreError, StoreNotFoundError, StoreUnavailableError
from model_store.names import is_model_name
from model_store.storage.object_storage import ObjectInfo
from model_store.storage.oci.artifact import EMPTY_JSON, MARKER, store_artifact
from model_store.storage.oci.client import Client
from model_store.storage.oci.repository import Repository
from model_store.storage.oci.session import Session

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
# A repository's name by the distribution specification, and its host.
REPOSITORY_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
MAX_NAME_LENGTH = 255


class RegistryStorage:
    """Objects of the models in the repositories below the URL's."""

    def __init__(self, url: str) -> None:
        self.scheme, _, rest = url.partition("://")
        self.host, _, name = rest.partition("/")
        self.name = name.rstrip("/")
        if not HOST.fullmatch(self.host) or not REPOSITORY_NAME.fullmatch(self.name):
            # The URL is not repeated: it may contain a password before an @.
            raise StoreNotFoundError(
                "expected oci://HOST[:PORT]/REPOSITORY, the repository in lower case and without a tag; "
                "credentials come from docker's configuration"
            )
        plain = self.scheme == "oci+http" or urlsplit(f"//{self.host}").hostname in LOCAL_HOSTS
        self._client = Client(Session(f"{'http' if plain else 'https'}://{self.host}", f"{self.host}/{self.name}"))
        self._models: dict[str, Repository] = {}
        self._announced: set[str] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}/{self.name}"

    @property
    def shows_unfinished_versions(self) -> bool:
        return False

    def check(self, *, writable: bool = False) -> None:
        try:
            if self._client.digest(self.name, MARKER) is not None:
                if writable:
                    self._client.check_writable(self.name)
                return
            if writable:
                self._tag(MARKER)
                return
        except StoreUnavailableError as error:
            raise StoreUnavailableError(f"the store at {self.url} cannot be reached: {error}") from error
        except ObjectError as error:
            kind, what = (StoreError, "written to") if writable else (StoreNotFoundError, "read")
            raise kind(f"the store at {self.url} cannot be {what}: {error}") from error
        raise StoreNotFoundError(
            f"there is no store at {self.url}: expected a repository that `slimbayes prune` published to"
        )

    def folders(self) -> list[str]:
        with self._lock:
            pending = {model for model, repository in self._models.items() if repository.has_pending}
        return sorted(pending | set(filter(is_model_name, self._client.tags(self.name))))

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        model = prefix.partition("/")[0]
        if self._repository_name(model) is None:
            return
        found = (each for each in self._repository(model).list_objects() if each.name.startswith(prefix))
        yield from sorted(found, key=lambda each: each.name)

    def read(self, name: str, limit: int) -> bytes:
        model, _, path = name.partition("/")
        if self._repository_name(model) is None:
            raise ObjectNotFoundError("there is no such object")
        return self._repository(model).read(path, limit)

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        model, _, path = name.partition("/")
        repository = self._repository(model)
        self._announce(model)
        repository.add(path, self._client.put_blob(repository.name, data), len(data), new=new)

    def copy(self, source: str, target: str) -> bool:
        (model, _, path), (other, _, other_path) = source.partition("/"), target.partition("/")
        source_repository, target_repository = self._repository(model), self._repository(other)
        layer = source_repository.layer(path)
        if layer is None or not self._client.mount_blob(target_repository.name, layer.digest, source_repository.name):
            return False
        self._announce(other)
        target_repository.add(other_path, layer.digest, layer.size, new=False)
        return True

    def delete(self, name: str) -> None:
        model, _, path = name.partition("/")
        self._repository(model).delete(path)

    def _announce(self, model: str) -> None:
        """Tag the model's name before any of its objects; the tag stays, since a version may be on its way."""
        if model not in self._announced:
            if self._client.digest(self.name, model) is None:
                self._tag(model)
            self._announced.add(model)

    def _tag(self, tag: str) -> None:
        self._client.put_blob(self.name, EMPTY_JSON)
        self._client.put_manifest(self.name, tag, store_artifact(tag))

    def _repository_name(self, model: str) -> str | None:
        """Return the name of a model's repository, or None for a model that a registry cannot name."""
        name = f"{self.name}/{model}"
        return name if REPOSITORY_NAME.fullmatch(name) and len(name) <= MAX_NAME_LENGTH else None

    def _repository(self, model: str) -> Repository:
        name = self._repository_name(model)
        if name is None:
            raise ObjectError(
                "in a registry '.', '_' and '-' in a model's name must stand alone, between letters or digits"
            )
        with self._lock:
            return self._models.setdefault(model, Repository(self._client, name, model))
