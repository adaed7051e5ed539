"""Pictures of a folder: by suffix or content, hidden ones are not there, and no link leads in a circle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from model_store.images.errors import FolderError
from model_store.images.folders import READ_SUFFIXES, files_below, is_picture, visible
from tests.support.images import png


def test_a_picture_is_known_by_its_suffix_or_its_content(tmp_path: Path) -> None:
    """Those of other formats too, which are refused by name; text that begins as a bitmap does is none."""
    for name in [f"a{suffix}" for suffix in READ_SUFFIXES] + ["a.heic"]:
        assert is_picture(tmp_path / name)
        assert is_picture(tmp_path / name.upper())
    for name, content in {"plain": b"BM is how this text begins", "empty": b"", "notes.txt": b"some text"}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_picture(tmp_path / name)
    (tmp_path / "nameless").write_bytes(png(np.zeros((2, 2), np.uint8)))
    assert is_picture(tmp_path / "nameless")
    os.mkfifo(tmp_path / "pipe")
    assert not is_picture(tmp_path / "pipe")


def test_files_in_folders_below_and_behind_links(tmp_path: Path) -> None:
    for path in ("a/b/c.png", "a/d.png", "a/.hidden.png", ".hidden/e.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    os.symlink(tmp_path / "a" / "b", tmp_path / "f")
    assert [path.name for path in visible(tmp_path)] == ["a", "f"]
    found = sorted(str(path.relative_to(tmp_path)) for path in files_below(tmp_path))
    assert found == ["a/b/c.png", "a/d.png", "f/c.png"]
    os.symlink(tmp_path, tmp_path / "a" / "circle")
    with pytest.raises(FolderError, match="circle is a link to a folder that holds it"):
        list(files_below(tmp_path))


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"missing cannot be read: No such file or directory"):
        visible(tmp_path / "missing")
