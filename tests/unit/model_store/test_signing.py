"""Signatures: what the official tool makes and takes, and what is refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from model_store.cli.main import app
from model_store.errors import SignatureError, SigningKeyError
from model_store.signing import PASSWORD, SIGNATURE, SigningKey, TrustedKeys, digests_of
from model_store.store import Store
from model_store.transfer import read_archive, transfer, write_archive
from pruning.cli.prune import app as prune_app
from tests.support.keys import Pair, make_pair, make_rsa_pair
from tests.support.stores import Filled, build_version

Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Of who is trusted."""
    return make_pair(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Of somebody else."""
    return make_pair(tmp_path_factory.mktemp("keys"), "theirs")


@pytest.fixture
def trusting(store: Store, pair: Pair) -> Store:
    """The same store, for who trusts one key."""
    return Store(store.objects, TrustedKeys.read([pair.public]))


def official(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command of the model-signing package."""
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def run(*arguments: object) -> Result:
    """`slimbayes models …`."""
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})


def folder_of(store: Store, version: str) -> Path:
    """Where a version of `digits` lies."""
    return Path(store.url) / "digits" / version


@pytest.mark.slow
@pytest.mark.parametrize("curve", ["P-256", "P-384"])
def test_the_official_tool_takes_what_we_sign(store: Store, tmp_path: Path, curve: str) -> None:
    """Over the version's folder; and no more once a byte of any file is another."""
    pair = make_pair(tmp_path, "own", curve)
    manifest, files = build_version()
    store.publish(manifest, files, SigningKey.read(pair.private).sign(manifest))
    folder = folder_of(store, manifest.version)
    verify = ("verify", "key", folder, "--public_key", pair.public, "--signature", folder / SIGNATURE)
    done = official(*verify)
    assert done.returncode == 0, done.stdout + done.stderr
    if curve == "P-256":
        with (folder / "p80" / "model.onnx").open("ab") as file:
            file.write(b" ")
        assert official(*verify).returncode != 0


@pytest.mark.slow
def test_we_take_what_the_official_tool_signs(store: Store, tmp_path: Path) -> None:
    """As it writes it, into the version's folder."""
    pair = make_pair(tmp_path, "own", "P-521")
    manifest, files = build_version()
    store.publish(manifest, files)
    folder = folder_of(store, manifest.version)
    done = official("sign", "key", folder, "--private_key", pair.private, "--signature", folder / SIGNATURE)
    assert done.returncode == 0, done.stdout + done.stderr
    Store(store.objects, TrustedKeys.read([pair.public])).verify("digits", manifest.version)


def test_only_signed_versions_are_trusted(filled: Filled, trusting: Store, pair: Pair, stranger: Pair) -> None:
    """Unsigned or signed by others: refused, until signed by who is trusted; who trusts nobody reads all."""
    with pytest.raises(SignatureError, match=f"digits {filled.new} is not signed"):
        trusting.manifest("digits", filled.new)
    manifest = filled.store.manifest("digits", filled.new)
    trusting.attach(manifest, SigningKey.read(stranger.private).sign(manifest))
    with pytest.raises(SignatureError, match="signed with a key that is not trusted here"):
        trusting.verify("digits", filled.new)
    trusting.attach(manifest, SigningKey.read(pair.private).sign(manifest))
    assert trusting.verify("digits", filled.new) == manifest
    both = Store(trusting.objects, TrustedKeys.read([stranger.public, pair.public]))
    assert both.verify("digits", filled.new) == manifest
    filled.store.verify("digits", filled.old)


def test_a_change_of_the_manifest_is_seen(filled: Filled, trusting: Store, pair: Pair) -> None:
    """Also one that is valid, and whose files still fit."""
    manifest = filled.store.manifest("digits", filled.new)
    trusting.attach(manifest, SigningKey.read(pair.private).sign(manifest))
    path = folder_of(trusting, filled.new) / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    filled.store.verify("digits", filled.new)
    with pytest.raises(SignatureError, match="was changed after it was signed"):
        trusting.verify("digits", filled.new)


def test_a_signature_of_another_version_is_none(filled: Filled, trusting: Store, pair: Pair) -> None:
    """Neither put there by hand nor through the store."""
    old, new = (filled.store.manifest("digits", version) for version in (filled.old, filled.new))
    signature = SigningKey.read(pair.private).sign(old)
    with pytest.raises(SignatureError, match="covers other files"):
        trusting.attach(new, signature)
    (folder_of(trusting, filled.new) / SIGNATURE).write_bytes(signature)
    with pytest.raises(SignatureError, match="was changed after it was signed"):
        trusting.verify("digits", filled.new)
    manifest, files = build_version(b"fourth")
    with pytest.raises(SignatureError, match="covers other files"):
        trusting.publish(manifest, files, signature)
    assert manifest.version not in filled.store.versions("digits")


def payload(change: Callable[[Any], object]) -> Callable[[Bundle], None]:
    """A change to what is signed, without signing it anew."""

    def apply(bundle: Bundle) -> None:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(statement)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return apply


BAD: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "another digest": (payload(lambda s: s["predicate"]["resources"][0].update(digest="0" * 64)), "was altered"),
    "nothing covered": (payload(lambda s: s["predicate"]["resources"].clear()), "was altered"),
    "spaces": (payload(lambda s: s.update(more=1)), "was altered"),
    "another signature": (lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="MEQCIAvm"), "was altered"),
    "no signature": (lambda b: b["dsseEnvelope"].update(signatures=[]), "is no signature of a model"),
    "two signatures": (lambda b: b["dsseEnvelope"].update(signatures=b["dsseEnvelope"]["signatures"] * 2), "is no sig"),
    "no base64": (lambda b: b["dsseEnvelope"].update(payload="a"), "is no signature"),
    "another kind": (lambda b: b["dsseEnvelope"].update(payloadType="text/plain"), "is no signature"),
    "another bundle": (lambda b: b.update(mediaType="application/json"), "is no signature"),
    "no envelope": (lambda b: b.pop("dsseEnvelope"), "is no signature"),
    "another key's name": (
        lambda b: (
            b["dsseEnvelope"]["signatures"][0].update(sig="MEQCIAvm")
            or b["verificationMaterial"]["publicKey"].update(hint="0" * 64)
        ),
        "not trusted here",
    ),
}


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD.keys())
def test_forged_signatures_are_refused(pair: Pair, change: Callable[[Bundle], object], says: str) -> None:
    manifest, _ = build_version()
    trusted, digests = TrustedKeys.read([pair.public]), digests_of(manifest, manifest.to_json())
    signature = SigningKey.read(pair.private).sign(manifest)
    assert trusted.check(digests, signature, "it") == SigningKey.read(pair.private).fingerprint
    bundle = json.loads(signature)
    change(bundle)
    with pytest.raises(SignatureError, match=says):
        trusted.check(digests, json.dumps(bundle).encode(), "it")


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 10**6, b"\xff", b"null", b" " * 2**21])
def test_what_is_no_signature_at_all(pair: Pair, data: bytes) -> None:
    manifest, _ = build_version()
    with pytest.raises(SignatureError, match="is no signature of a model"):
        TrustedKeys.read([pair.public]).check(digests_of(manifest, manifest.to_json()), data, "it")


SIGNED_NONSENSE: dict[str, Callable[[Any], object]] = {
    "another algorithm": lambda s: s["predicate"]["resources"][0].update(algorithm="md5"),
    "shards": lambda s: s["predicate"]["serialization"].update(method="shards"),
    "two subjects": lambda s: s.update(subject=s["subject"] * 2),
    "another root": lambda s: s["subject"][0]["digest"].update(sha256="0" * 64),
    "a file twice": lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]),
    "one file less": lambda s: s["predicate"]["resources"].pop(),
    "another statement": lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
    "an older form": lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"),
}


@pytest.mark.parametrize("change", SIGNED_NONSENSE.values(), ids=SIGNED_NONSENSE.keys())
def test_signed_nonsense_is_refused(pair: Pair, change: Callable[[Any], object]) -> None:
    """A key that is trusted signed it, but not as a version of these files."""
    manifest, _ = build_version()
    key, digests = SigningKey.read(pair.private), digests_of(manifest, manifest.to_json())
    bundle = json.loads(key.sign(manifest))
    payload(change)(bundle)
    signed = key.signature_of(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signed).decode()
    with pytest.raises(SignatureError, match=r"does not cover a version|contradicts itself|was changed"):
        TrustedKeys.read([pair.public]).check(digests, json.dumps(bundle).encode(), "it")


def test_it_travels(filled: Filled, pair: Pair, tmp_path: Path) -> None:
    """With a version to another store, also later, and in an archive."""
    trusted = TrustedKeys.read([pair.public])
    manifest = filled.store.manifest("digits", filled.new)
    there = Store.create(tmp_path / "there")
    transfer(filled.store, there, "digits", filled.new)
    filled.store.attach(manifest, SigningKey.read(pair.private).sign(manifest))
    assert transfer(filled.store, there, "digits", filled.new) == (manifest, False)
    Store(there.objects, trusted).verify("digits", filled.new)
    fresh = Store.create(tmp_path / "fresh")
    transfer(filled.store, fresh, "digits", filled.new)
    Store(fresh.objects, trusted).verify("digits", filled.new)
    write_archive(filled.store, "digits", filled.new, tmp_path / "it.tar")
    _, files, signature = read_archive(tmp_path / "it.tar")
    assert (signature, files["p80"]) == (filled.store.signature("digits", filled.new), b"p80:second")


def test_commands(filled: Filled, pair: Pair, stranger: Pair, tmp_path: Path) -> None:
    """Sign, verify, promote, pull and import, each with who is trusted."""
    at = ("--store", filled.store.url)
    assert run("verify", "digits", filled.new, *at).exit_code == 0
    unsigned = run("verify", "digits", filled.new, *at, "--trusted-key", pair.public)
    assert (unsigned.exit_code, "is not signed" in unsigned.output) == (1, True)
    signed = run("sign", "digits", filled.new, *at, "--sign-key", pair.private, "--json")
    assert json.loads(signed.stdout)["key"] == SigningKey.read(pair.private).fingerprint
    trusting = ("--trusted-key", f"{stranger.public},{pair.public}")
    assert run("verify", "digits", filled.new, *at, *trusting).exit_code == 0
    rows = json.loads(run("verify", "digits", *at, *trusting, "--json").stdout)["versions"]
    assert [row["problem"] is None for row in rows] == [False, True]
    assert "not trusted" in run("promote", "digits", filled.new, *at, "--trusted-key", stranger.public).output
    assert run("promote", "digits", filled.new, *at, *trusting).exit_code == 0
    there = ("--from", filled.store.url, "--store", tmp_path / "there")
    assert "is not signed" in run("pull", "digits", filled.old, *there, *trusting).output
    assert run("pull", "digits", filled.new, *there, *trusting).exit_code == 0
    archive = tmp_path / "it.tar"
    assert run("export", "digits", filled.new, *at, "--to", archive).exit_code == 0
    assert "not trusted" in run("import", archive, "--store", tmp_path / "b", "--trusted-key", stranger.public).output
    assert run("import", archive, "--store", tmp_path / "b", *trusting).exit_code == 0
    assert run("verify", "--store", tmp_path / "b", *trusting).exit_code == 0


def test_prune_signs_what_it_publishes(digits_run: Path, pair: Pair, tmp_path: Path) -> None:
    """Before anybody can read it."""
    arguments = ["--levels", "p50", "--epochs", "0", "--draws", "2", "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(prune_app, [str(digits_run), *arguments, "--sign-key", str(pair.private)])
    assert result.exit_code == 0, result.output
    store = Store.open(tmp_path / "store", TrustedKeys.read([pair.public]))
    (model,) = store.models()
    assert store.verify(model, store.resolve(model)).level("p50") is not None


def test_keys_that_are_none(tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file has instead is said, and what was expected."""
    monkeypatch.delenv(PASSWORD, raising=False)
    rsa = make_rsa_pair(tmp_path, "rsa")
    other = make_pair(tmp_path, "other", "secp256k1")
    (tmp_path / "text").write_text("no key")
    for path in (rsa.private, other.private):
        with pytest.raises(SigningKeyError, match="another kind: expected an ECDSA key on P-256"):
            SigningKey.read(path)
    with pytest.raises(SigningKeyError, match="another kind"):
        TrustedKeys.read([other.public])
    for path in (tmp_path / "text", pair.public):
        with pytest.raises(SigningKeyError, match="no private key"):
            SigningKey.read(path)
    for path in (tmp_path / "text", pair.private):
        with pytest.raises(SigningKeyError, match="there is no public key in"):
            TrustedKeys.read([path])
    with pytest.raises(SigningKeyError, match=r"cannot read the key in .*: No such file"):
        TrustedKeys.read([tmp_path / "missing"])


def test_encrypted_keys(tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from the environment."""
    encrypted = make_pair(tmp_path, "own", "P-256", "secret")
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(SigningKeyError, match=f"is encrypted: set {PASSWORD}"):
        SigningKey.read(encrypted.private)
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(SigningKeyError, match="or its password is wrong"):
        SigningKey.read(encrypted.private)
    monkeypatch.setenv(PASSWORD, "secret")
    assert SigningKey.read(encrypted.private).fingerprint
    with pytest.raises(SigningKeyError, match="is not encrypted"):
        SigningKey.read(pair.private)
