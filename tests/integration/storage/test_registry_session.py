"""What a registry and the network before it do wrong: what fails for a moment is tried again, what is wrong is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme

from model_store.errors import (
    ObjectError,
    ObjectNotFoundError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
    VerificationError,
)
from model_store.storage.location import open_storage
from model_store.storage.oci.auth import Request
from model_store.storage.oci.session import MAX_RETRIES, Session
from model_store.store import Store
from tests.support.backends import Place
from tests.support.proxy import Proxy
from tests.support.registry_front import Answered, Asked, Front
from tests.support.registry_server import registry_server
from tests.support.stores import build_version

pytestmark = pytest.mark.system
Alter = Callable[[Answered], Answered]


@pytest.fixture
def proxy(repository: Place) -> Iterator[Proxy]:
    """A proxy through which the registry is reached."""
    with Proxy(repository.server) as proxy:
        yield proxy


def failing(answer: Answered, times: int) -> Callable[[Asked], Answered | None]:
    """The next so many requests are answered so."""
    left = iter(range(times))
    return lambda asked: answer if next(left, None) is not None else None


# What fails for a moment


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_is_overloaded(repository: Place, front: Front, status: int) -> None:
    """Tried again a bounded number of times; then it is away, and nothing of what was to be published is there."""
    manifest, files = build_version()
    store = Store.create(repository.through(front.address).url)
    front.rule = failing(Answered(status, {}), 2)
    store.publish(manifest, files)
    front.rule = lambda asked: Answered(status, {})
    front.asked.clear()
    with pytest.raises(StoreUnavailableError, match=f"model digits cannot be read: it answers {status}"):
        store.publish(*build_version(b"other"))
    assert len(front.asked) == MAX_RETRIES + 1
    assert Store.open(repository.url).versions("digits") == [manifest.version]


def test_it_is_asked_again_when_it_says(repository: Place, front: Front) -> None:
    store = Store.create(repository.through(front.address).url)
    begun = time.monotonic()
    for soon in ("1", "nonsense", formatdate(0, usegmt=True)):
        front.rule = failing(Answered(429, {"Retry-After": soon}), 1)
        assert store.models() == []
    assert time.monotonic() - begun > 1
    front.asked.clear()
    for late in ("3600", formatdate(time.time() + 3600, usegmt=True), "9" * 100):
        front.rule = failing(Answered(503, {"Retry-After": late}), 1)
        with pytest.raises(StoreUnavailableError, match="it answers 503"):
            store.models()
    assert len(front.asked) == 3


def test_a_registry_that_nobody_answers_for(repository: Place, proxy: Proxy) -> None:
    Store.create(repository.url)
    there = repository.through(proxy.address).url
    proxy.down()
    with pytest.raises(StoreUnavailableError, match=f"the store at {there} cannot be reached: it does not answer"):
        Store.open(there)


def test_a_registry_that_says_nothing(repository: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.storage.oci.session.READ_TIMEOUT_S", 0.2)
    proxy.silent = True
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        Store.open(repository.through(proxy.address).url)
    proxy.silent = False


def test_a_registry_that_trickles(repository: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(200_000)
    Store.create(repository.url).objects.write("digits/object", data)
    objects = open_storage(repository.through(proxy.address).url)
    monkeypatch.setattr("model_store.storage.oci.session.TOTAL_TIMEOUT_S", 0.3)
    proxy.rate = 60_000
    with pytest.raises(StoreUnavailableError, match="it takes too long"):
        objects.read("digits/object", len(data) + 1)


def test_an_object_that_comes_incomplete(repository: Place, proxy: Proxy) -> None:
    """Read again where the connection was cut; where that happens every time the store is away, the object not bad."""
    data = bytes(range(256)) * 4000
    Store.create(repository.url).objects.write("digits/object", data)
    objects = open_storage(repository.through(proxy.address).url)
    proxy.cut_after, proxy.cuts = 300_000, 1
    assert objects.read("digits/object", len(data) + 1) == data
    assert proxy.cuts == 0
    proxy.cut()
    proxy.cut_after, proxy.cuts = 5_000, 100
    with pytest.raises(StoreUnavailableError):
        objects.read("digits/object", len(data) + 1)


def test_what_was_sent_and_lost_is_sent_again(repository: Place, front: Front) -> None:
    """An upload that the registry has forgotten, or lost when it was whole, begins anew."""
    manifest, files = build_version()
    store = Store.create(repository.through(front.address).url)
    lost = [Answered(404, {}), Answered(500, {})]

    def lose(asked: Asked, answered: Answered) -> Answered:
        return lost.pop() if lost and asked.method == "PUT" and "/uploads/" in asked.path else answered

    front.change = lose
    store.publish(manifest, files)
    assert lost == []
    assert Store.open(repository.url).verify("digits", manifest.version) == manifest


# What is wrong


def of_level(asked: Asked) -> bool:
    return asked.method == "GET" and "/blobs/" in asked.path


@pytest.mark.parametrize(
    "alter",
    [
        lambda found: replace(found, body=found.body[:-1] + b"!"),
        lambda found: replace(found, body=found.body[:-1]),
        lambda found: replace(found, body=b""),
        lambda found: replace(found, body=found.body + b"!" + bytes(10**6)),
    ],
    ids=["other", "short", "empty", "long"],
)
def test_bytes_that_are_not_those_that_were_published(repository: Place, front: Front, alter: Alter) -> None:
    manifest, files = build_version()
    Store.create(repository.url).publish(manifest, files)
    store = Store.open(repository.through(front.address).url)
    front.change = lambda asked, found: alter(found) if of_level(asked) and found.body == files["p80"] else found
    if alter(Answered(200, {}, b"12")).body[:2] == b"12":  # no more is read than there should be
        store.verify("digits", manifest.version)
        return
    with pytest.raises(
        VerificationError, match="level p80 cannot be read: its bytes are not those that were published"
    ):
        store.verify("digits", manifest.version)


def test_a_manifest_that_is_not_what_its_digest_says(repository: Place, front: Front) -> None:
    manifest, files = build_version()
    Store.create(repository.url).publish(manifest, files)
    store = Store.open(repository.through(front.address).url)

    def alter(asked: Asked, found: Answered) -> Answered:
        altered = found.body.replace(b"p80/model.onnx", b"p90/model.onnx")
        return replace(found, body=altered) if asked.method == "GET" and "/manifests/" in asked.path else found

    front.change = alter
    with pytest.raises(ObjectError, match="model digits cannot be read: its bytes are not those that were published"):
        store.listing("digits")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answered(200, {}, b"<html>"), "its response is not a registry's"),
        (Answered(200, {}, b'{"tags": ["' + b"a" * 2**22), "its response is not a registry's"),
        (Answered(400, {}, b'{"errors": [{"code": "NAME_INVALID"}]}'), "the registry allows no such name"),
        (Answered(418, {}, b'{"errors": [{"code": "TEAPOT"}]}'), "it answers 418 TEAPOT"),
        (Answered(418, {}, b'{"errors": [{"code": "<script>"}]}'), "it answers 418$"),
        (Answered(418, {}, b'{"errors": {}}'), "it answers 418$"),
        (Answered(403, {}), "the credentials do not allow it"),
        (Answered(302, {"Location": "file:///etc/passwd"}), "not reached over TLS"),
        (Answered(302, {}), "redirects too often"),
    ],
)
def test_answers_that_are_none(repository: Place, front: Front, answer: Answered, message: str) -> None:
    store = Store.create(repository.through(front.address).url)
    front.rule = lambda asked: answer
    with pytest.raises(ObjectError, match=f"the store cannot be read: .*{message}") as caught:
        store.models()
    assert not isinstance(caught.value, StoreUnavailableError)


@pytest.mark.parametrize(
    ("location", "message"),
    [("http://[::nonsense", "an invalid address"), ("file:///etc/passwd", "not reached over TLS")],
)
def test_uploads_that_lead_nowhere(repository: Place, front: Front, location: str, message: str) -> None:
    store = Store.create(repository.through(front.address).url)
    begun = Answered(202, {"Location": location})
    front.change = lambda asked, found: begun if asked.method == "POST" else found
    with pytest.raises(ObjectError, match=f"cannot publish digits: .*{message}"):
        store.publish(*build_version())


def test_a_registry_that_may_only_be_read(tmp_path: Path) -> None:
    with registry_server(tmp_path, maintenance={"readonly": {"enabled": True}}) as address:
        with pytest.raises(StoreError, match=r"models cannot be written to: the registry does not allow it"):
            Store.create(f"oci://{address}/models")
        with pytest.raises(ObjectNotFoundError, match="no such object"):
            open_storage(f"oci://{address}/models").read("digits/none", 1)


# TLS


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of every registry but those on this machine, as 127.0.0.1 is and 127.0.0.2 for these tests is not."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.2")
    chain, key, trusted = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "authority.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    with registry_server(tmp_path, host="127.0.0.2", tls={"certificate": str(chain), "key": str(key)}) as address:
        url = f"oci://{address}/models"
        with pytest.raises(StoreNotFoundError, match="not trusted here: name its authority in SSL_CERT_FILE"):
            Store.open(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        manifest, files = build_version()
        Store.create(url).publish(manifest, files)
        assert Store.open(url).verify("digits", manifest.version) == manifest
        with Front() as plain:
            session = Session(f"https://{address}", f"{address}/models")
            with pytest.raises(ObjectError, match="not reached over TLS"):
                session.request(Request("GET", f"http://{plain.address}/"))
            assert plain.asked == []
    with registry_server(tmp_path, host="127.0.0.2") as address:
        with pytest.raises(StoreUnavailableError, match="it does not answer"):
            Store.open(f"oci://{address}/models")
        assert Store.open(f"oci+http://{address}/models").verify("digits", manifest.version) == manifest
