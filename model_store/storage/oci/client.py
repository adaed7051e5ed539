"""Call the part of the OCI distribution API that a store needs, and verify every response by digest.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

from model_store.errors import ObjectError
from model_store.storage.oci.artifact import IMAGE_MANIFEST, Artifact, digest_of, read_artifact
from model_store.storage.oci.auth import Request
from model_store.storage.oci.session import TOTAL_TIMEOUT_S, Answer, RetryableError, Session, json_object, refusal

# Tags per page, and the most pages read.
PAGE_SIZE, MAX_PAGES = 1000, 10_000
NEXT_LINK = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
ACCEPT = {"Accept": IMAGE_MANIFEST}
ALTERED = "its bytes are not those that were published"


class Stored(NamedTuple):
    """An artifact in the registry; None where the manifest is not one of a store."""

    digest: str
    artifact: Artifact | None


class Client:
    """Client of a registry; `name` is that of a repository."""

    def __init__(self, session: Session) -> None:
        self.session = session

    # Manifests

    def tags(self, name: str) -> list[str]:
        """Return all tags, or none where the repository does not exist."""
        path, tags, pages = f"/v2/{name}/tags/list?n={PAGE_SIZE}", set[str](), set[str]()
        while path and path not in pages and len(pages) < MAX_PAGES:
            pages.add(path)
            answer = self.session.request(Request("GET", path, _pull_scope(name)))
            if answer.status == 404:
                return []
            document = json_object(_check_status(answer, 200))
            tags.update(filter(lambda tag: isinstance(tag, str), document.get("tags") or []))
            following = NEXT_LINK.search(answer.headers.get("Link", ""))
            path = following[1] if following else ""
        if path:
            raise ObjectError("its list of tags does not end")
        return sorted(tags)

    def digest(self, name: str, tag: str) -> str | None:
        """Return the digest of the manifest with this tag, or None."""
        answer = self.session.request(Request("HEAD", _manifest_path(name, tag), _pull_scope(name), ACCEPT))
        if answer.status == 404:
            return None
        digest: str = _check_status(answer, 200).headers.get("Docker-Content-Digest", "")
        if digest:
            return digest
        stored = self.manifest(name, tag)
        return stored.digest if stored else None

    def manifest(self, name: str, reference: str) -> Stored | None:
        """Return the manifest with this tag or digest, or None."""
        answer = self.session.request(Request("GET", _manifest_path(name, reference), _pull_scope(name), ACCEPT))
        if answer.status == 404:
            return None
        content = _check_status(answer, 200).content
        expected = reference if ":" in reference else answer.headers.get("Docker-Content-Digest", "")
        if expected.startswith("sha256:") and expected != digest_of(content):
            raise ObjectError(ALTERED)
        return Stored(digest_of(content), read_artifact(content))

    def put_manifest(self, name: str, tag: str, artifact: Artifact) -> None:
        """Tag an artifact whose blobs exist; the tag points to it for everyone from then on."""
        headers = {"Content-Type": IMAGE_MANIFEST}
        request = Request("PUT", _manifest_path(name, tag), _push_scope(name), headers, artifact.to_json())
        _check_status(self.session.request(request), 201)

    def delete_manifest(self, name: str, digest: str) -> None:
        """Delete an artifact with all its tags, if it exists."""
        answer = self.session.request(Request("DELETE", _manifest_path(name, digest), _delete_scope(name)))
        if answer.status != 404:
            _check_status(answer, 202, 200, 204)

    # Blobs

    def has_blob(self, name: str, digest: str) -> bool:
        """Return whether the repository has the blob."""
        answer = self.session.request(Request("HEAD", f"/v2/{name}/blobs/{digest}", _pull_scope(name)))
        return answer.status != 404 and _check_status(answer, 200) is not None

    def blob(self, name: str, digest: str, size: int, limit: int) -> bytes:
        """Return the first `limit` bytes of a blob of `size` bytes, verified where they are all."""
        wanted = min(size, limit)
        answer = self.session.request(Request("GET", f"/v2/{name}/blobs/{digest}", _pull_scope(name), limit=wanted))
        content = _check_status(answer, 200).content
        if len(content) < wanted or (wanted == size and digest_of(content) != digest):
            raise ObjectError(ALTERED)
        return content

    def put_blob(self, name: str, data: bytes) -> str:
        """Upload a blob unless the repository has it, and return its digest."""
        digest = digest_of(data)
        self.session.retry(lambda: self._put_blob_once(name, digest, data), within_s=TOTAL_TIMEOUT_S)
        return digest

    def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """Share a blob of another repository; return False where the registry does not support that."""
        if self.has_blob(name, digest):
            return True
        if name == source:
            return False
        answer = self.session.request(_upload_request(name, mount=digest, **{"from": source}))
        self._cancel_upload(name, _check_status(answer, 201, 202))
        return answer.status == 201

    def check_writable(self, name: str) -> None:
        """Raise ObjectError unless blobs may be uploaded."""
        self._cancel_upload(name, _check_status(self.session.request(_upload_request(name)), 202))

    def _put_blob_once(self, name: str, digest: str, data: bytes) -> None:
        if self.has_blob(name, digest):
            return
        started = _check_status(self.session.request_once(_upload_request(name)), 202)
        location = started.headers.get("Location", "")
        path = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self.session.request_once(Request("PUT", path, _push_scope(name), headers, data))
        if answer.status == 404:  # the upload has expired
            raise RetryableError("it lost the upload")
        _check_status(answer, 201)

    def _cancel_upload(self, name: str, started: Answer) -> None:
        """Cancel an upload; registries that do not allow that expire it themselves."""
        if started.status == 202 and (location := started.headers.get("Location")):
            with suppress(ObjectError):
                self.session.request(Request("DELETE", location, _push_scope(name)))


def _upload_request(name: str, **query: str) -> Request:
    path = f"/v2/{name}/blobs/uploads/{'?' if query else ''}{urlencode(query)}"
    return Request("POST", path, _push_scope(name), content=b"")


def _manifest_path(name: str, reference: str) -> str:
    return f"/v2/{name}/manifests/{reference}"


def _pull_scope(name: str) -> str:
    return f"repository:{name}:pull"


def _push_scope(name: str) -> str:
    return f"repository:{name}:pull,push"


def _delete_scope(name: str) -> str:
    return f"repository:{name}:pull,push,delete"


def _check_status(answer: Answer, *expected: int) -> Answer:
    if answer.status not in expected:
        raise refusal(answer)
    return answer
