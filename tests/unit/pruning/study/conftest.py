"""One study for all tests of studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sharing import Once
from tests.support.studies import study


@pytest.fixture(scope="session")
def studied(once: Once, digits_run: Path) -> Path:
    """A whole study of the digits."""

    def make(folder: Path) -> None:
        result = study(digits_run, folder)
        assert result.exit_code == 0, result.output

    return once("study", make)
