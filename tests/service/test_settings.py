"""Settings come from flags, then from the environment, and are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import StartError
from service.settings import Settings


def test_flags_win_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that is not given leaves the environment's value."""
    monkeypatch.setenv("SLIMBAYES_MAX_IMAGES", "5")
    monkeypatch.setenv("SLIMBAYES_STORE", "/models")
    settings = Settings.read(max_images=7, store=None)
    assert (settings.max_images, settings.store) == (7, Path("/models"))


def test_defaults_are_local() -> None:
    """Nobody from outside is served unless asked for."""
    assert Settings.read().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("flags", "says"), [({"port": 70000}, "port"), ({"max_samples": 0}, "max_samples"), ({"threads": -1}, "threads")]
)
def test_bad_flags(flags: dict[str, int], says: str) -> None:
    with pytest.raises(StartError, match=says):
        Settings.read(**flags)


def test_bad_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMBAYES_PORT", "many")
    with pytest.raises(StartError, match=r"setting port.*'many'"):
        Settings.read()


def test_misspelt_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is misspelt is no limit, so it is refused."""
    monkeypatch.setenv("SLIMBAYES_MAX_PIXEL", "100")
    with pytest.raises(StartError, match=r"SLIMBAYES_MAX_PIXEL .*SLIMBAYES_MAX_PIXELS"):
        Settings.read()


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings.read().port = 1  # type: ignore[misc]
