"""Checks of files: nothing is handed out that is not what was published."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import VerificationError
from model_store.manifest.integrity import check_bytes, sha256
from tests.support.stores import Filled, build_version


def test_sha256_is_that_of_the_standard() -> None:
    """FIPS 180-4's example."""
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), st.data())
def test_any_other_bytes_are_refused(content: bytes, data: st.DataObject) -> None:
    manifest, files = build_version(content)
    level, right = manifest.levels[0], files["dense"]
    check_bytes(level, right)
    place = data.draw(st.integers(0, len(right) - 1))
    flipped = bytes([right[place] ^ (1 << data.draw(st.integers(0, 7)))])
    for wrong in (right[:place] + flipped + right[place + 1 :], right[:place], right + b"\0", b""):
        with pytest.raises(VerificationError, match="level dense"):
            check_bytes(level, wrong)


def flip_a_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def make_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_copy_outside(path: Path) -> None:
    """The right bytes, but in a place where they may change under an immutable version."""
    outside = path.parents[4] / "outside.onnx"
    path.rename(outside)
    path.symlink_to(outside)


def link_level_to_copy_outside(path: Path) -> None:
    outside = path.parents[4] / "outside"
    path.parent.rename(outside)
    path.parent.symlink_to(outside, target_is_directory=True)


def link_to_other_version(path: Path) -> None:
    other = min(entry for entry in path.parents[2].iterdir() if entry.name != path.parents[1].name)
    shutil.copy(path, other / "stolen.onnx")
    path.unlink()
    path.symlink_to(Path("../..") / other.name / "stolen.onnx")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered": (flip_a_byte, "altered"),
    "truncated": (lambda path: os.truncate(path, 3), "has 3 bytes"),
    "emptied": (lambda path: os.truncate(path, 0), "has 0 bytes"),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"!"), "has more bytes"),
    # Far more than memory: only as much as was announced may be read.
    "a terabyte": (lambda path: os.truncate(path, 1 << 40), "has more bytes"),
    "missing": (lambda path: path.unlink(), "cannot be read"),
    "level missing": (lambda path: shutil.rmtree(path.parent), "cannot be read"),
    "a folder": (make_folder, "cannot be read"),
    "linked to itself": (make_loop, "cannot be read"),
    "linked outside": (link_to_copy_outside, "outside its version"),
    "level linked outside": (link_level_to_copy_outside, "outside its version"),
    "linked to another version": (link_to_other_version, "outside its version"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_level_is_refused_and_all_else_is_readable(
    filled: Filled, damage: Callable[[Path], object], message: str
) -> None:
    store = filled.store
    manifest = store.manifest("digits", filled.new)
    damage(filled.level_file(filled.new, "p80"))
    with pytest.raises(VerificationError, match=f"level p80 .*{message}"):
        store.verify("digits", filled.new)
    with pytest.raises(VerificationError, match=message):
        store.read_level(manifest, "p80")
    assert store.read_level(manifest, "dense") == b"dense:second"
    assert store.read_level(store.verify("digits", filled.old), "p80") == b"p80:first"
    store.verify("letters", filled.letters)
    assert store.versions("digits") == [filled.old, filled.new]


@pytest.mark.parametrize("announced", [10**12, 2**63, 10**30])
def test_an_absurd_size_in_the_manifest_is_a_mismatch_like_any_other(filled: Filled, announced: int) -> None:
    path = Path(filled.store.url) / "digits" / filled.new / "manifest.json"
    document = json.loads(path.read_bytes())
    document["levels"][0]["bytes"] = announced
    path.write_text(json.dumps(document))
    with pytest.raises(VerificationError, match=f"manifest says {announced}"):
        filled.store.verify("digits", filled.new)


def test_a_link_within_the_version_is_as_good_as_its_bytes(filled: Filled) -> None:
    path = filled.level_file(filled.new, "p80")
    path.rename(path.parent / "weights.bin")
    path.symlink_to("weights.bin")
    filled.store.verify("digits", filled.new)
    flip_a_byte(path.parent / "weights.bin")
    with pytest.raises(VerificationError, match="altered"):
        filled.store.verify("digits", filled.new)


def test_a_store_behind_a_link_is_a_store(filled: Filled, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(Path(filled.store.url), target_is_directory=True)
    assert type(filled.store).open(link).verify("digits", filled.new).version == filled.new
