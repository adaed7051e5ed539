"""`slimbayes score`: what it writes, what it refuses, and how it goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.images import png
from tests.support.scoring import Score


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "there is no such file or folder"),
        (["empty"], "nothing to score: expected pictures or files of Parquet"),
        (["both"], "has pictures and Parquet"),
        (["ftp://host/images"], "cannot be read"),
        (["pictures", "--level", "p99"], "no level 'p99': there is dense, p50, p90"),
        (["pictures", "--model", "cats"], "no model 'cats'"),
        (["pictures", "--version", "x"], "no version or alias 'x'"),
        (["pictures", "--samples", "many"], "a whole number from 1 to 256, or auto"),
        (["pictures", "--alpha", "0.5"], "calibrated for"),
        (["pictures", "--column", "image"], "columns belong to Parquet"),
        (["table", "--column", "picture"], "no column 'picture' with images; it has image (binary)"),
        (["table", "--id", "name"], "has no column 'name'"),
        (["broken.parquet"], "cannot be read as Parquet"),
    ],
)
def test_bad_input(
    score: Score, tmp_path: Path, arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what was wrong, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "both", "pictures", "table"):
        (tmp_path / folder).mkdir()
    for folder in ("both", "pictures"):
        (tmp_path / folder / "one.png").write_bytes(png(np.zeros((8, 8), np.uint8)))
    for folder in ("both", "table"):
        parquet.write_table(pa.table({"image": [b""]}), tmp_path / folder / "one.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no Parquet")
    result = score(arguments[0], "out", *arguments[1:])
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("missing", "flags"), [("pyarrow", []), ("ray", ["--engine", "ray"])])
def test_a_missing_extra_is_named(
    digits_store: Path, pictures: Path, tmp_path: Path, missing: str, flags: list[str]
) -> None:
    """In one sentence that says what to install."""
    extra = {"pyarrow": "score"}.get(missing, missing)
    command = [str(pictures), str(tmp_path / "out"), "--store", str(digits_store), *flags]
    program = f"import sys; sys.modules[{missing!r}] = None\n"
    program += "from service.cli import main, score\n"
    program += "main.app = lambda **_: score.app()\n"
    program += f"sys.argv = ['slimbayes', *{command!r}]; main.main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.strip().endswith(f"needs the {extra} extra: pip install 'slimbayes[{extra}]'")
