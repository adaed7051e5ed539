"""With trusted keys, only what one of them signed is ever served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from model_store.signing import SigningKey
from model_store.store import Store
from service.app import create_app
from service.errors import StartupError
from service.repository.repository import ModelRepository
from service.settings import Settings
from tests.support.http import PNG, ask, refusal
from tests.support.keys import Pair, make_pair
from tests.support.restamped import publish


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Of who is trusted."""
    return make_pair(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture
def store(digits_store: Path, tmp_path: Path, pair: Pair) -> Store:
    """A store with one version, which is signed."""
    shutil.copytree(digits_store, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    sign(store, store.resolve("digits"), pair)
    return store


def sign(store: Store, version: str, pair: Pair) -> None:
    """Sign a version that is there."""
    manifest = store.manifest("digits", version)
    store.attach(manifest, SigningKey.read(pair.private).sign(manifest))


@contextmanager
def trusting(store: Store, *pairs: Pair) -> Iterator[TestClient]:
    """A service that trusts these keys, and looks at its store only when it is told to."""
    app = create_app(Settings(store=store.url, trusted_keys=tuple(pair.public for pair in pairs), reload_seconds=0))
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("damage", ["unsigned", "foreign", "altered", "another version's"])
def test_what_is_not_trusted_is_never_served(
    store: Store, example: bytes, pair: Pair, tmp_path: Path, damage: str
) -> None:
    """A newer version is refused with its reason, in `GET /models` too, and the one before goes on answering."""
    first = store.resolve("digits")
    second = publish(store, 1)
    folder = Path(store.url) / "digits" / second
    says = "is not signed"
    if damage == "foreign":
        sign(store, second, make_pair(tmp_path, "theirs"))
        says = "signed with a key that is not trusted here"
    elif damage == "altered":
        sign(store, second, pair)
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"abstain_above"', ' "abstain_above"'))
        says = "was changed after it was signed"
    elif damage == "another version's":
        shutil.copy(Path(store.url) / "digits" / first / "signature.json", folder)
        says = "was changed after it was signed"
    store.set_alias("digits", "candidate", second)
    with trusting(store, pair) as client:
        assert ask(client, example)["version"] == first
        refused, served = client.get("/models").json()["models"][0]["versions"]
        assert (refused["version"], refused["ready"], served["ready"]) == (second, False, True)
        assert says in refused["refusal"]
        for version in (second, "candidate"):
            refusal(client.post(f"/predict?version={version}", content=example, headers=PNG), 404)


def test_signed_later_it_is_served(
    store: Store, example: bytes, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either of two keys, once the service looks again."""
    monkeypatch.setattr("service.repository.loader.RETRY_S", 0.0)
    second, other = publish(store, 1), make_pair(tmp_path, "second", "P-384")
    with trusting(store, pair, other) as client:
        catalog: ModelRepository = client.app.state.service.repository  # type: ignore[attr-defined]
        assert ask(client, example)["version"] != second
        sign(store, second, other)
        catalog.refresh()
        assert ask(client, example)["version"] == second


def test_nothing_signed_is_nothing_to_serve(digits_store: Path, pair: Pair, tmp_path: Path) -> None:
    """Nor does it start with what is no key."""
    with pytest.raises(StartupError, match="no version that can be served"):
        ModelRepository(Settings(store=digits_store, trusted_keys=(pair.public,)))
    with pytest.raises(StartupError, match="there is no public key in"):
        ModelRepository(Settings(store=digits_store, trusted_keys=(pair.private,)))
    with pytest.raises(StartupError, match="cannot read the key in"):
        ModelRepository(Settings(store=digits_store, trusted_keys=(tmp_path / "none",)))


def test_keys_are_named_in_the_environment(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    """Several, with commas between them."""
    monkeypatch.setenv("SLIMBAYES_TRUSTED_KEYS", f"{pair.public}, /other.pem")
    assert Settings.read().trusted_keys == (pair.public, Path("/other.pem"))
