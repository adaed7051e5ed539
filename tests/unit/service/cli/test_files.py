"""What `slimbayes predict` asks about: files, folders and patterns."""

from __future__ import annotations

from pathlib import Path

from tests.support.predicting import documents, predict


def test_folders_and_patterns(url: str, folder: Path) -> None:
    """With all below, in order, without what is no picture or hidden."""
    found = [one["image"] for one in documents(predict(url, folder, "--format", "json"))]
    names = [f"{below}/c/{number}.PNG" for below, numbers in (("a", "0246"), ("b", "135")) for number in numbers]
    assert found == [str(folder / name) for name in names]
    for pattern, expected in (("**/[12].PNG", ["a/c/2.PNG", "b/c/1.PNG"]), ("a/c/*", names[:4])):
        found = [one["image"] for one in documents(predict(url, folder / pattern, "--format", "json"))]
        assert found == [str(folder / name) for name in expected]


def test_what_is_no_picture_is_counted(url: str, folder: Path) -> None:
    for name in ("notes.txt", "a/phone.heic", ".hidden"):
        (folder / name).write_bytes(b"?")
    result = predict(url, folder, "--format", "json")
    assert len(documents(result)) == 7
    assert f"left out, as no pictures: 2 files, such as {folder}/a/phone.heic" in result.stderr


def test_no_files(tmp_path: Path) -> None:
    """Nobody is asked about nothing."""
    result = predict("http://127.0.0.1:9", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there are no pictures in it" in result.stderr
