"""Who one is to a registry: by name and password, by tokens, with what is found in the usual places."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.errors import StoreError, StoreNotFoundError, StoreUnavailableError
from model_store.storage.oci.artifact import digest_of
from model_store.store import Store
from tests.support.credentials import auths, log_in
from tests.support.registry_front import Answered, Asked, Front
from tests.support.registry_server import registry_server
from tests.support.requirements import program
from tests.support.stores import NOON, build_version
from tests.support.token_service import REFRESH_TOKEN, TokenService

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("home")]


def refusal(url: str) -> str:
    """Why a store cannot be opened."""
    with pytest.raises(StoreNotFoundError, match=f"the store at {url} cannot be read: ") as caught:
        Store.open(url)
    return str(caught.value).partition("cannot be read: ")[2]


# Name and password


@pytest.fixture
def guarded(home: Path) -> Iterator[str]:
    """URL of a store in a registry that knows `ann` with her password."""
    known = subprocess.run([program("htpasswd"), "-nbB", "ann", "secret"], capture_output=True, check=True).stdout
    (home / "htpasswd").write_bytes(known)
    with registry_server(home, auth={"htpasswd": {"realm": "tests", "path": str(home / "htpasswd")}}) as address:
        yield f"oci://{address}/models"


def test_a_name_and_its_password(guarded: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = guarded.split("/")[2]
    assert refusal(guarded) == f"it asks for credentials, and there are none for {host}"
    log_in(monkeypatch, "ann", "wrong")
    assert refusal(guarded) == "the credentials are wrong"
    with pytest.raises(StoreError, match=f"the store at {guarded} cannot be written to: the credentials are wrong"):
        Store.create(guarded)
    log_in(monkeypatch, "ann", "secret")
    manifest, files = build_version()
    Store.create(guarded).publish(manifest, files)
    log_in(monkeypatch, "", "")
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(auths({host: "ann:secret"}))
    assert Store.open(guarded).verify("digits", manifest.version) == manifest


def test_credentials_go_to_the_registry_alone(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to where it redirects downloads to; and a redirection that leads round is given up."""
    log_in(monkeypatch, "ann", "secret")
    manifest, files = build_version()
    Store.create(guarded).publish(manifest, files)
    host = guarded.split("/")[2]
    with Front() as elsewhere, Front(host) as front:

        def blob(asked: Asked) -> Answered | None:
            found = next((data for data in files.values() if asked.path.endswith(digest_of(data))), None)
            return Answered(200, {}, found) if found else Answered(404, {})

        def redirect(asked: Asked) -> Answered | None:
            if asked.method != "GET" or not any(asked.path.endswith(digest_of(data)) for data in files.values()):
                return None
            return Answered(307, {"Location": f"http://{elsewhere.address}/bucket/{asked.path.split('/')[-1]}"})

        elsewhere.rule, front.rule = blob, redirect
        store = Store.open(guarded.replace(host, front.address))
        assert store.verify("digits", manifest.version) == manifest
        assert len(elsewhere.asked) == len(files)
        assert not any("authorization" in asked.headers for asked in elsewhere.asked)
        assert any("authorization" in asked.headers for asked in front.asked)
        elsewhere.rule = lambda asked: Answered(302, {"Location": asked.path})
        with pytest.raises(StoreError, match="redirects too often"):
            store.verify("digits", manifest.version)
        assert len(elsewhere.asked) < 20


# Tokens


@pytest.fixture
def tokens(home: Path) -> Iterator[tuple[str, TokenService, Front]]:
    """URL of a store in a registry that wants tokens, what gives them, and where."""
    service = TokenService(home)
    with Front() as front:
        front.rule = service.rule
        with registry_server(home, auth=service.configuration(f"http://{front.address}/token")) as address:
            yield f"oci://{address}/models", service, front


def test_tokens(tokens: tuple[str, TokenService, Front], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each repository and right; who may only read is told so before any work is done, and at each attempt."""
    url, service, front = tokens
    host = url.split("/")[2]
    assert "it asks for credentials, and there are none for" in refusal(url)
    log_in(monkeypatch, "writer", "wrong")
    assert refusal(url) == "the credentials are wrong"
    log_in(monkeypatch, "writer", "writing")
    writer = Store.create(url)
    manifest, files = build_version()
    writer.publish(manifest, files)
    writer.set_alias("digits", "production", manifest.version)
    given = service.given
    writer.publish(*build_version(b"other", created=NOON.replace(year=2027)))
    assert service.given == given
    log_in(monkeypatch, "reader", "reading")
    with pytest.raises(StoreError, match=f"the store at {url} cannot be written to: the credentials do not allow it"):
        Store.create(url)
    reader = Store.open(url)
    assert reader.verify("digits", manifest.version) == manifest
    for attempt, what in (
        (lambda: reader.publish(*build_version(b"third")), "cannot publish digits"),
        (lambda: reader.set_alias("digits", "candidate", manifest.version), "cannot set alias candidate of digits"),
        (lambda: reader.remove_alias("digits", "production"), "cannot set alias production of digits"),
    ):
        with pytest.raises(StoreError, match=f"{what}: the credentials do not allow it") as caught:
            attempt()
        assert not isinstance(caught.value, StoreUnavailableError)
    assert reader.aliases("digits") == {"production": manifest.version}
    log_in(monkeypatch, "", "")
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {host: {"identitytoken": REFRESH_TOKEN}}}))
    assert Store.create(url).verify("digits", manifest.version) == manifest
    assert front.asked[-1].method == "POST"


def test_a_token_that_has_expired_is_replaced(
    tokens: tuple[str, TokenService, Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, service, _ = tokens
    log_in(monkeypatch, "writer", "writing")
    host = url.split("/")[2]
    with Front(host) as registry:
        store = Store.create(url.replace(host, registry.address))
        manifest, files = build_version()
        store.publish(manifest, files)
        expired = {asked.headers["authorization"] for asked in registry.asked if "authorization" in asked.headers}
        challenge = f'Bearer realm="http://{tokens[2].address}/token",service="registry of these tests"'

        def refuse_old(asked: Asked) -> Answered | None:
            old = asked.headers.get("authorization") in expired
            return Answered(401, {"WWW-Authenticate": challenge}) if old else None

        registry.rule, given = refuse_old, service.given
        assert store.verify("digits", manifest.version) == manifest
        assert service.given == given + 1
        store.set_alias("digits", "production", manifest.version)
