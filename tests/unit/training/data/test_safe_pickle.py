"""The restricted unpickler: arrays and containers come through, whatever could run code does not."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from training.data.safe_pickle import load_plain_pickle
from training.errors import DataError


def test_containers_and_arrays_come_through(tmp_path: Path) -> None:
    thing = {b"array": np.arange(6, dtype=np.uint8).reshape(2, 3), b"list": [1, 2.5, b"x"], b"number": np.float64(3)}
    for protocol in (2, 3, 4):
        (tmp_path / "pickle").write_bytes(pickle.dumps(thing, protocol=protocol))
        found = load_plain_pickle(tmp_path / "pickle")
        assert np.array_equal(found.pop(b"array"), [[0, 1, 2], [3, 4, 5]])
        assert found == {b"list": [1, 2.5, b"x"], b"number": 3.0}


def test_python_2s_text_comes_as_bytes(tmp_path: Path) -> None:
    """As the publisher wrote its files: dictionary {'labels': [6, 9]} in protocol 2 with Python 2's str."""
    (tmp_path / "pickle").write_bytes(b"\x80\x02}q\x00U\x06labelsq\x01]q\x02(K\x06K\x09es.")
    assert load_plain_pickle(tmp_path / "pickle") == {b"labels": [6, 9]}


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", id="os.system"),
        pytest.param(b"cposix\nsystem\n(S'true'\ntR.", id="posix.system"),
        pytest.param(b"cbuiltins\neval\n(S'1'\ntR.", id="eval"),
        pytest.param(b"c__builtin__\neval\n(S'1'\ntR.", id="Python 2's eval"),
        pytest.param(b"cnumpy\nload\n(S'x'\ntR.", id="another name of an allowed module"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", id="a path into an allowed class"),
        pytest.param(b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.", id="reading of files"),
    ],
)
def test_other_names_are_refused_by_name(tmp_path: Path, code: bytes) -> None:
    (tmp_path / "pickle").write_bytes(code)
    with pytest.raises(DataError, match="it refers to"):
        load_plain_pickle(tmp_path / "pickle")


def test_any_truncation_is_a_data_error(tmp_path: Path) -> None:
    whole = pickle.dumps({b"data": np.zeros((3, 4), np.uint8), b"labels": [1, 2, 3]}, protocol=2)
    for length in range(len(whole)):
        (tmp_path / "pickle").write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_plain_pickle(tmp_path / "pickle")


def test_random_bytes_are_a_data_error_or_plain(tmp_path: Path) -> None:
    generator = random.Random(0)
    for _ in range(500):
        (tmp_path / "pickle").write_bytes(b"\x80\x02" + generator.randbytes(generator.randrange(1, 60)) + b".")
        try:
            found = load_plain_pickle(tmp_path / "pickle")
        except DataError:
            continue
        assert isinstance(found, int | float | str | bytes | bool | None | tuple | list | dict | bytearray | set)


def test_a_missing_file_stays_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_plain_pickle(tmp_path / "nothing")
