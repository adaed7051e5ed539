"""Many pictures: one that is bad stops no other, and refusals are said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.predicting import documents, predict


def test_one_bad_picture_stops_no_other(url: str, folder: Path) -> None:
    """Each of them is named with its reason, whatever it is; the others keep their answers and their order."""
    (folder / "a" / "c" / "2.PNG").write_bytes(b"not a picture")
    (folder / "b" / "c" / "3.PNG").write_bytes((folder / "b" / "c" / "3.PNG").read_bytes()[:60])
    result = predict(url, folder, folder / "none.png", folder / "*.gif", "--format", "json")
    assert result.exit_code == 1
    found = documents(result)
    assert [Path(one["image"]).name[0] for one in found] == list("0246135")
    assert [Path(one["image"]).name[0] for one in found if "error" in one] == ["2", "3"]
    good = documents(predict(url, folder / "a" / "c" / "4.PNG", "--format", "json"))[0]
    assert found[2]["probability"] == pytest.approx(good["probability"], abs=1e-5)
    for said in ("2.PNG: the service answered 415", "3.PNG: the service answered 422", "there is no such file",
                 "no file matches"):  # fmt: skip
        assert said in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--level", "p99"], "404"), (["--samples", "0"], "from 1 to 256"), (["--alpha", "0.5"], "calibrated for")],
)
def test_refusals_are_said_once(url: str, digits: list[Path], arguments: list[str], says: str) -> None:
    """What is wrong with every request ends it all."""
    result = predict(url, *digits, "--batch", "1", *arguments)
    assert result.exit_code == 1
    assert says in " ".join(result.stderr.split())
    assert result.stderr.count("Error") == 1
    assert result.stdout == ""
