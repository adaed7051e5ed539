"""What a store keeps of its word wherever it lies: every test runs on each backend, with a real server behind it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from typer.testing import CliRunner

from model_store.cli import app
from model_store.collection import collect
from model_store.errors import (
    InvalidNameError,
    ManifestError,
    NotInStoreError,
    ObjectNotFoundError,
    StoreError,
    VerificationError,
    VersionExistsError,
)
from model_store.manifest import Manifest
from model_store.objects import UNFINISHED
from model_store.store import WORTH_COPYING, Store
from model_store.transfer import transfer
from tests.model_store.backends import Place
from tests.model_store.conftest import Filled, fill
from tests.model_store.versions import NOON, build_version

ABSENT = "20200101-000000-000000"
PUBLISHERS = 4
NOW = timedelta(seconds=-1)


@pytest.fixture
def store(place: Place) -> Store:
    """An empty store."""
    return Store.create(place.url)


@pytest.fixture
def filled(store: Store) -> Filled:
    """A store with three versions of two models and no alias."""
    return fill(store)


def snapshot(store: Store) -> dict[str, bytes]:
    """Every object of every model: name to content."""
    listed = (found for name in store.objects.folders() for found in store.objects.walk(f"{name}/"))
    return {found.name: store.objects.read(found.name, found.size) for found in listed if not found.name.endswith("/")}


# Objects


def test_an_object_is_what_was_written(store: Store) -> None:
    objects = store.objects
    for name, data in {"digits/a/empty": b"", "digits/b": b"b" * 3_000_000, "letters/c.json": b"{}"}.items():
        objects.write(name, data, new=True)
        assert objects.read(name, len(data) + 1) == data
        assert objects.read(name, 1) == data[:1]
    assert [(found.name, found.size) for found in objects.walk("digits/")] == [
        ("digits/a/empty", 0),
        ("digits/b", 3_000_000),
    ]
    assert objects.folders() == ["digits", "letters"]
    objects.write("digits/b", b"other")
    assert objects.read("digits/b", 100) == b"other"
    for name in ("digits/b", "digits/a/empty", "digits/none"):
        objects.delete(name)
    assert list(objects.walk("digits/")) == []
    assert list(objects.walk("none/")) == []
    with pytest.raises(ObjectNotFoundError):
        objects.read("digits/b", 1)


# Versions


def test_an_empty_store(place: Place) -> None:
    assert Store.create(place.url).models() == []
    with pytest.raises(NotInStoreError, match=r"no model 'digits' in the store: it has none"):
        Store.open(place.url).versions("digits")


def test_what_is_published_is_what_is_read(store: Store) -> None:
    manifest, files = build_version(b"weights")
    store.publish(manifest, files)
    reopened = Store.open(store.url)
    assert reopened.models() == ["digits"]
    assert reopened.versions("digits") == [manifest.version]
    assert reopened.manifest("digits", manifest.version) == manifest
    assert {level: reopened.read_level(manifest, level) for level in files} == files
    assert reopened.verify("digits", manifest.version) == manifest


def test_versions_are_listed_oldest_first(filled: Filled) -> None:
    assert filled.old < filled.new
    assert filled.store.versions("digits") == [filled.old, filled.new]
    assert filled.store.models() == ["digits", "letters"]


def test_a_version_is_immutable(filled: Filled) -> None:
    before = snapshot(filled.store)
    same, same_files = build_version(b"first")
    other, other_files = build_version(b"other")
    other = other.model_copy(update={"version": filled.old})
    for manifest, files in [(same, same_files), (other, other_files)]:
        with pytest.raises(VersionExistsError, match=filled.old):
            filled.store.publish(manifest, files)
    assert snapshot(filled.store) == before


def test_publish_checks_the_files_against_the_manifest(store: Store) -> None:
    manifest, files = build_version()
    with pytest.raises(VerificationError, match="p80"):
        store.publish(manifest, files | {"p80": files["p80"][:-1] + b"!"})
    with pytest.raises(StoreError, match="exactly one file for each level"):
        store.publish(manifest, {"dense": files["dense"]})
    with pytest.raises(StoreError, match="exactly one file for each level"):
        store.publish(manifest, files | {"p99": b"more"})
    assert snapshot(store) == {}


def test_what_is_not_there_is_answered_with_what_is(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "candidate", filled.new)
    with pytest.raises(NotInStoreError, match=r"no model 'cifar'.*digits, letters"):
        store.resolve("cifar")
    with pytest.raises(NotInStoreError, match=f"'production'.*{filled.old}, {filled.new}, candidate"):
        store.resolve("digits", "production")
    with pytest.raises(NotInStoreError, match=f"'{ABSENT}'.*{filled.old}, {filled.new}"):
        store.manifest("digits", ABSENT)
    manifest = store.manifest("digits", filled.new)
    with pytest.raises(NotInStoreError, match=r"'p99'.*dense, p80"):
        store.read_level(manifest, "p99")
    with pytest.raises(NotInStoreError, match="no model"):
        store.set_alias("cifar", "production", filled.new)
    for name in (filled.letters, ABSENT, "../digits"):
        with pytest.raises(NotInStoreError, match="no version or alias"):
            store.set_alias("digits", "production", name)
    assert store.aliases("digits") == {"candidate": filled.new}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../store", "a\0", "aliases/..", ".write-0"])
def test_names_that_are_paths_are_refused(store: Store, name: str) -> None:
    for attempt in (store.versions, store.aliases, store.resolve):
        with pytest.raises(InvalidNameError):
            attempt(name)
    manifest, files = build_version()
    for attempt in (
        lambda: store.manifest(name, manifest.version),
        lambda: store.set_alias(name, "production", manifest.version),
        lambda: store.set_alias("digits", name, manifest.version),
        lambda: store.publish(manifest.model_copy(update={"model": name}), files),
    ):
        with pytest.raises(InvalidNameError):
            attempt()
    assert snapshot(store) == {}


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"schema_version": 3}', b"\0" * 64])
def test_a_damaged_manifest_hides_no_other_version(filled: Filled, damage: bytes) -> None:
    filled.store.objects.write(f"digits/{filled.new}/manifest.json", damage)
    with pytest.raises(ManifestError):
        filled.store.verify("digits", filled.new)
    filled.store.verify("digits", filled.old)
    filled.store.verify("letters", filled.letters)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(b"p80:secono", "altered"), (b"p80", "has 3 bytes"), (b"", "has 0 bytes"), (b"p80:second!", "has more bytes")],
)
def test_a_damaged_level_is_refused_and_all_else_is_readable(filled: Filled, damage: bytes, message: str) -> None:
    store = filled.store
    manifest = store.manifest("digits", filled.new)
    store.objects.write(f"digits/{filled.new}/p80/model.onnx", damage)
    with pytest.raises(VerificationError, match=f"level p80 .*{message}"):
        store.verify("digits", filled.new)
    assert store.read_level(manifest, "dense") == b"dense:second"
    store.verify("digits", filled.old)


def test_a_missing_level_is_refused(filled: Filled) -> None:
    filled.store.objects.delete(f"digits/{filled.new}/p80/model.onnx")
    with pytest.raises(VerificationError, match="level p80 cannot be read"):
        filled.store.verify("digits", filled.new)


# Aliases


def test_resolve(filled: Filled) -> None:
    store = filled.store
    assert store.resolve("digits") == filled.new
    assert store.resolve("digits", filled.old) == filled.old
    assert store.set_alias("digits", "candidate", filled.new) == filled.new
    assert store.resolve("digits", "candidate") == filled.new
    store.set_alias("digits", "production", filled.old)
    assert store.resolve("digits") == filled.old
    assert store.resolve("letters") == filled.letters


def test_an_alias_of_an_alias_means_what_that_means_now(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "candidate", filled.old)
    assert store.set_alias("digits", "production", "candidate") == filled.old
    store.set_alias("digits", "candidate", filled.new)
    assert store.aliases("digits") == {"candidate": filled.new, "production": filled.old}
    assert store.aliases("letters") == {}


def test_history(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "production", filled.old, by="ann")
    store.set_alias("digits", "production", filled.new, by="bob")
    store.remove_alias("digits", "production", by="eve")
    assert store.aliases("digits") == {}
    told = [(change.before, change.version, change.by) for change in store.history("digits")]
    assert told == [(None, filled.old, "ann"), (filled.old, filled.new, "bob"), (filled.new, None, "eve")]
    with pytest.raises(NotInStoreError, match=r"no alias 'production'.*none"):
        store.remove_alias("digits", "production")


# Deletion and collection


def test_delete(filled: Filled) -> None:
    store = filled.store
    before = snapshot(store)
    store.set_alias("digits", "production", filled.new)
    with pytest.raises(StoreError, match="is production: promote another version first"):
        store.delete("digits", filled.new)
    store.delete("digits", filled.old)
    left = {name: data for name, data in snapshot(store).items() if "/aliases/" not in name}
    assert left == {name: data for name, data in before.items() if not name.startswith(f"digits/{filled.old}/")}
    assert store.versions("digits") == [filled.new]
    with pytest.raises(NotInStoreError, match="no version"):
        store.delete("digits", filled.old)


def test_collection_removes_what_is_no_version(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "production", filled.old)
    before = snapshot(store)
    assert collect(store, older_than=NOW) == []
    store.objects.write(f"digits/{ABSENT}/p80/model.onnx", b"half of it")
    store.objects.write(f"digits/{filled.old}/{UNFINISHED}0123456789abcdef", b"half of it")
    expected = [f"digits/{ABSENT}", f"digits/{filled.old}/{UNFINISHED}0123456789abcdef"]
    assert collect(store) == []
    assert collect(store, older_than=NOW, dry_run=True) == expected
    assert collect(store, older_than=NOW) == expected
    assert snapshot(store) == before


# Publishing again, and from store to store


def test_a_publication_goes_on_where_it_broke_off(store: Store) -> None:
    """What is there is not sent again; what is there under the version's name and is something else is refused."""
    manifest, files = build_version(b"weights")
    store.objects.write(f"digits/{manifest.version}/dense/model.onnx", files["dense"])
    before = next(store.objects.walk("digits/"))
    store.publish(manifest, files)
    assert next(store.objects.walk("digits/")) == before
    assert store.verify("digits", manifest.version) == manifest
    other, other_files = build_version(b"others")
    store.objects.write(f"digits/{other.version}/dense/model.onnx", b"!" * len(other_files["dense"]))
    with pytest.raises(VersionExistsError):
        store.publish(other, other_files)
    assert store.versions("digits") == [manifest.version]


def test_a_version_with_a_level_that_another_has(store: Store) -> None:
    """By copy where the backend can, else by sending it: it is there twice, and outlives the other."""
    first, files = build_version(b"weights" * WORTH_COPYING)
    store.publish(first, files)
    second = first.model_copy(update={"version": "20300101-000000-abcdef"})
    store.publish(second, files)
    store.delete("digits", first.version)
    assert store.verify("digits", second.version) == second


def test_transfer(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> None:
    """To a folder and back, under the same name."""
    other = Store.create(tmp_path_factory.mktemp("other"))
    manifest, sent = transfer(filled.store, other, "digits", filled.old)
    assert (sent, transfer(filled.store, other, "digits", filled.old)[1]) == (True, False)
    filled.store.delete("digits", filled.old)
    transfer(other, filled.store, "digits", filled.old)
    assert filled.store.verify("digits", filled.old) == manifest


# The command line


def test_every_command_takes_it(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By its URL, with one line of JSON or of error, and no traceback."""
    url, folder = filled.store.url, tmp_path_factory.mktemp("moved")

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--store", url])
        assert result.exit_code == status, result.output
        return result.output

    names = [model["name"] for model in json.loads(run("list", "--json"))["models"]]
    assert names == ["digits", "letters"]
    run("promote", "digits", filled.old)
    run("promote", "digits", filled.new)
    assert filled.old in run("rollback", "digits")
    assert len(json.loads(run("history", "digits", "--json"))["changes"]) == 3
    for look in (("show", "digits"), ("diff", "digits", filled.old, filled.new), ("verify",), ("gc", "--dry-run")):
        run(*look)
    run("push", "digits", filled.new, "--to", str(folder / "store"))
    run("export", "digits", filled.new, "--to", str(folder / "digits.tar"))
    for bring in (
        ("pull", "digits", filled.new, "--from", str(folder / "store")),
        ("import", str(folder / "digits.tar")),
    ):
        run("delete", "digits", filled.new, "--yes")
        run(*bring)
        assert filled.store.verify("digits", filled.new).version == filled.new
    assert "Error: no model 'cifar' in the store" in run("show", "cifar", status=1)


# Several at once


def test_publishers_at_the_same_second_get_a_version_each(store: Store) -> None:
    built = [build_version(f"content {number}".encode()) for number in range(PUBLISHERS)]
    together = threading.Barrier(PUBLISHERS)

    def publish(version: tuple[Manifest, dict[str, bytes]]) -> None:
        together.wait(10)
        store.publish(*version)

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        list(threads.map(publish, built))
    assert store.versions("digits") == sorted(manifest.version for manifest, _ in built)
    for manifest, files in built:
        assert store.verify("digits", manifest.version) == manifest
        assert {level: store.read_level(manifest, level) for level in files} == files
    assert collect(store, older_than=NOW) == []


def test_no_alias_is_lost_among_concurrent_updates(filled: Filled) -> None:
    wanted = {f"alias-{number}": (filled.old, filled.new)[number % 2] for number in range(24)}
    done = threading.Event()
    seen: list[dict[str, str]] = []

    def read() -> None:
        while not done.is_set():
            seen.append(filled.store.aliases("digits"))

    with ThreadPoolExecutor(7) as threads:
        reader = threads.submit(read)
        try:
            list(threads.map(lambda item: filled.store.set_alias("digits", *item), wanted.items()))
        finally:
            done.set()
        reader.result()
    assert filled.store.aliases("digits") == wanted
    # Every reading is a whole one, and aliases only ever come.
    assert all(earlier.items() <= later.items() <= wanted.items() for earlier, later in pairwise(seen))


def test_collection_at_work_disturbs_no_publisher(store: Store) -> None:
    """Collection runs all the time while versions and aliases come; every publication succeeds."""
    done = threading.Event()
    removed: list[str] = []

    def clean() -> None:
        while not done.is_set():
            removed.extend(collect(store))

    def publish(number: int) -> str:
        manifest, files = build_version(f"{number}".encode(), created=NOON + timedelta(seconds=number))
        store.publish(manifest, files)
        store.set_alias("digits", f"alias-{number % 3}", manifest.version)
        return manifest.version

    with ThreadPoolExecutor(4) as threads:
        cleaners = [threads.submit(clean) for _ in range(2)]
        try:
            published = list(threads.map(publish, range(8)))
        finally:
            done.set()
        for cleaner in cleaners:
            cleaner.result()
    assert removed == []
    assert store.versions("digits") == sorted(published)
    for version in published:
        store.verify("digits", version)
