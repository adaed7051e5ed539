"""The folder of a store: the same while its models change, another where its volume is not mounted."""

from __future__ import annotations

import shutil
from pathlib import Path

from service.repository.opening import StoreRoot


def test_an_emptied_mount_is_another_folder(tmp_path: Path) -> None:
    """A deleted model is not, and a folder that is back is the old one."""
    folder, away = tmp_path / "store", tmp_path / "away"
    (folder / "digits").mkdir(parents=True)
    root = StoreRoot(str(folder))
    shutil.rmtree(folder / "digits")
    assert not root.replaced
    folder.rename(away)
    assert root.replaced
    folder.mkdir()
    assert root.replaced
    folder.rmdir()
    away.rename(folder)
    assert not root.replaced
    folder.rename(away)
    folder.mkdir()
    root.remember()
    assert not root.replaced


def test_a_bucket_is_never_another() -> None:
    assert not StoreRoot("s3://bucket/models").replaced
