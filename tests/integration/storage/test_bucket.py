"""A store in a bucket of a real S3 server: what is refused says why, what fails for a moment is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from model_store.errors import (
    ObjectError,
    ObjectExistsError,
    ObjectNotFoundError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from model_store.storage.location import open_storage
from model_store.store import Store
from tests.support.backends import BUCKET, Place, in_bucket, s3_environment
from tests.support.proxy import Proxy
from tests.support.stores import build_version

pytestmark = pytest.mark.system
AWAY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 36\r\nConnection: close\r\n\r\n<Error><Code>SlowDown</Code></Error>"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place in the bucket."""
    return reach(in_bucket(request), monkeypatch)


@pytest.fixture
def proxy(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy through which the bucket is reached."""
    with Proxy(bucket.server) as proxy:
        reach(bucket.through(proxy.address), monkeypatch)
        yield proxy


def reach(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Set this process's environment so that the place can be reached."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    return place


# What is refused


def refusal(place: Place) -> str:
    """Why a store cannot be opened."""
    with pytest.raises(StoreNotFoundError, match=f"the store at {place.url} cannot be read: ") as caught:
        Store.open(place.url)
    return str(caught.value).partition("cannot be read: ")[2]


def test_wrong_credentials(bucket: Place, swift: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for user, key in (("tester", "wrong"), ("nobody", "testing")):
        reach(Place(bucket.url, s3_environment(swift, user, key)), monkeypatch)
        assert refusal(bucket).startswith("the credentials are wrong")


def test_a_missing_bucket(bucket: Place) -> None:
    place = Place(bucket.url.replace(BUCKET, "missing"))
    assert refusal(place) == "there is no such bucket (NoSuchBucket)"


def test_credentials_that_may_only_read(bucket: Place, swift: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, files = build_version()
    Store.create(bucket.url).publish(manifest, files)
    reach(Place(bucket.url, s3_environment(swift, "reader", "reading")), monkeypatch)
    store = Store.create(bucket.url)
    assert store.verify("digits", manifest.version) == manifest
    for attempt, what in (
        (lambda: store.publish(*build_version(b"other")), "cannot publish digits"),
        (lambda: store.set_alias("digits", "production", manifest.version), "cannot set alias production of digits"),
        (lambda: store.delete("digits", manifest.version), f"cannot delete digits {manifest.version}"),
    ):
        with pytest.raises(StoreError, match=f"{what}: the credentials do not allow it") as caught:
            attempt()
        assert not isinstance(caught.value, StoreUnavailableError)
    assert (store.versions("digits"), store.aliases("digits")) == ([manifest.version], {})


def test_a_clock_that_is_wrong(bucket: Place, proxy: Proxy) -> None:
    """The proxy dates requests as a machine does whose clock is an hour late."""
    now = datetime.now(UTC)
    proxy.rewrite = (
        f"x-amz-date: {now:%Y%m%dT%H}".encode(),
        f"x-amz-date: {now - timedelta(hours=1):%Y%m%dT%H}".encode(),
    )
    assert "this machine's clock is not right" in refusal(bucket)


def test_no_credentials_at_all(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no credentials in the environment" in refusal(bucket)


# What fails for a moment


@pytest.mark.parametrize("answer", [AWAY, BROKEN], ids=["503", "500"])
def test_a_store_that_is_overloaded(bucket: Place, proxy: Proxy, answer: bytes) -> None:
    """Tried again a bounded number of times; then it is away, and nothing of what was to be published is there."""
    manifest, files = build_version()
    store = Store.create(bucket.url)
    proxy.cut()
    proxy.answers = [answer] * 2
    store.publish(manifest, files)
    assert proxy.answers == []
    other, other_files = build_version(b"other")
    proxy.cut()
    proxy.answers, before = [answer] * 100, proxy.connections
    with pytest.raises(StoreUnavailableError, match=r"model digits cannot be read: it answers 50[03]"):
        store.publish(other, other_files)
    assert 2 <= proxy.connections - before <= 4
    proxy.answers = []
    assert store.versions("digits") == [manifest.version]


def test_a_store_that_nobody_answers_for(bucket: Place, proxy: Proxy) -> None:
    proxy.down()
    with pytest.raises(StoreUnavailableError, match=f"the store at {bucket.url} cannot be reached: it does not answer"):
        Store.open(bucket.url)


def test_a_store_that_says_nothing(bucket: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.storage.bucket.READ_TIMEOUT", timedelta(seconds=0.3))
    proxy.silent = True
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        Store.open(bucket.url)
    proxy.silent = False


def test_an_object_that_comes_incomplete(bucket: Place, proxy: Proxy) -> None:
    """Read on where the connection was cut; where that happens every time the store is away, the object not bad."""
    objects, data = open_storage(bucket.url), bytes(range(256)) * 4000
    objects.write("digits/object", data)
    proxy.cut()
    proxy.cut_after, proxy.cuts = 300_000, 1
    assert objects.read("digits/object", len(data) + 1) == data
    assert proxy.cuts == 0
    proxy.cut()
    proxy.cut_after, proxy.cuts = 2_000, 100
    with pytest.raises(StoreUnavailableError):
        objects.read("digits/object", len(data) + 1)


def test_a_write_whose_answer_was_lost(bucket: Place, proxy: Proxy) -> None:
    """Whether it came through or not: written again by the client, it is there once, and no rival's is taken for it."""
    objects = open_storage(bucket.url)
    objects.write("digits/first", b"1")
    proxy.cut()
    proxy.cut_after, proxy.cuts = 10, 1
    try:
        objects.write("digits/object", b"mine", new=True)
    except StoreUnavailableError:
        objects.write("digits/object", b"mine", new=True)
    assert proxy.cuts == 0
    assert objects.read("digits/object", 100) == b"mine"
    with pytest.raises(ObjectExistsError):
        objects.write("digits/object", b"other", new=True)


# What else is of buckets only


def test_a_store_without_conditional_writes(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    store = Store.create(bucket.url)
    manifest, files = build_version()
    store.publish(manifest, files)
    assert store.verify("digits", manifest.version) == manifest
    with pytest.raises(ObjectExistsError):
        store.objects.write(f"digits/{manifest.version}/manifest.json", b"{}", new=True)


def test_copy_is_done_by_the_store(bucket: Place) -> None:
    objects = open_storage(bucket.url)
    objects.write("digits/a", b"a")
    assert objects.copy("digits/a", "digits/b")
    assert objects.read("digits/b", 10) == b"a"
    assert not objects.copy("digits/none", "digits/c")
    with pytest.raises(ObjectNotFoundError):
        objects.read("digits/c", 10)


@pytest.mark.slow
def test_a_listing_of_more_than_a_thousand_keys(bucket: Place) -> None:
    objects = open_storage(bucket.url)
    names = [f"digits/{number:04}" for number in range(1100)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: objects.write(name, b""), names))
    assert [found.name for found in objects.list_objects("digits/")] == names


def test_errors_of_objects_are_the_stores(bucket: Place) -> None:
    with pytest.raises(ObjectNotFoundError, match="no such object"):
        open_storage(bucket.url).read("digits/none", 1)
    with pytest.raises(ObjectError, match="no such bucket"):
        open_storage("s3://missing").read("digits/none", 1)
