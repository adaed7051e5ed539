"""The public surface is what the snapshots say: wire names, flags, columns, exports.

A change that is meant is written down by `python -m tests.contract.test_snapshots`, and belongs in the changelog. The
schemas of the manifest have golden files of their own, in tests/contract/golden.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.surfaces import SURFACES, Document, without_prose

FOLDER = Path(__file__).parent / "snapshots"
AGAIN = "if the change is meant, write it down: python -m tests.contract.test_snapshots"


def as_text(document: Document) -> str:
    """Text that shows one name a line in a diff."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def compare(name: str, found: Document) -> None:
    """Fail with the lines that differ from a snapshot, and how to write it anew."""
    kept = json.loads((FOLDER / f"{name}.json").read_text())
    differing = list(differences(kept, json.loads(as_text(found))))
    if differing:
        pytest.fail("\n".join([f"{name} is not as in {FOLDER.name}/{name}.json:", *differing[:30], AGAIN]), False)


def differences(kept: Any, found: Any, at: str = "") -> list[str]:
    """Where two documents differ, one line each."""
    if isinstance(kept, dict) and isinstance(found, dict):
        gone = [f"  {at}/{key} is gone" for key in kept if key not in found]
        new = [f"  {at}/{key} is new" for key in found if key not in kept]
        both = [line for key in kept if key in found for line in differences(kept[key], found[key], f"{at}/{key}")]
        return [*gone, *new, *both]
    if isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        return [
            line
            for place, pair in enumerate(zip(kept, found, strict=True))
            for line in differences(*pair, f"{at}/{place}")
        ]
    return [] if kept == found and type(kept) is type(found) else [f"  {at} was {kept!r}, is {found!r}"]


@pytest.mark.parametrize("name", SURFACES)
def test_it_is_as_it_was(name: str) -> None:
    """Nothing that others depend on has another name, type or default."""
    compare(name, SURFACES[name]())


def test_every_snapshot_has_its_surface() -> None:
    """A snapshot that nothing is compared with guards nothing."""
    assert {path.stem for path in FOLDER.iterdir()} == SURFACES.keys()


@pytest.mark.parametrize("name", SURFACES)
def test_a_change_is_noticed(name: str) -> None:
    """A name that goes, comes or changes fails, and the message says how to write the snapshot anew."""
    kept: Document = json.loads((FOLDER / f"{name}.json").read_text())
    compare(name, kept)
    without, more, renamed = (copy.deepcopy(kept) for _ in range(3))
    first = next(iter(kept))
    del without[first]
    more["surprise"] = 1
    renamed[first] = "another"
    for changed in (without, more, renamed):
        with pytest.raises(pytest.fail.Exception, match=r"python -m tests\.contract\.test_snapshots"):
            compare(name, changed)


def test_prose_is_no_surface() -> None:
    """Text for people goes; properties that are called like it stay, and so does all else."""
    parts = {"title": {"type": "string", "title": "Title", "description": "Words."}, "examples": {"type": "array"}}
    described = {"summary": "Words.", "example": 1, "required": ["title"], "properties": parts}
    assert without_prose(described) == {
        "required": ["title"],
        "properties": {"title": {"type": "string"}, "examples": {"type": "array"}},
    }


def write() -> None:
    """Write every snapshot anew, or those that are named."""
    for name in sys.argv[1:] or SURFACES:
        (FOLDER / f"{name}.json").write_text(as_text(SURFACES[name]()))


if __name__ == "__main__":
    write()
