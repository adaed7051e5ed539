"""Settings come from flags, then from the environment, and are refused in words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.errors import StartupError
from service.settings import Settings


def test_flags_win_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that is not given leaves the environment's value."""
    monkeypatch.setenv("SLIMBAYES_MAX_IMAGES", "5")
    monkeypatch.setenv("SLIMBAYES_STORE", "/models")
    settings = Settings.read(max_images=7, store=None)
    assert (settings.max_images, settings.store) == (7, "/models")


def test_defaults_are_local() -> None:
    """Nobody from outside is served unless asked for."""
    assert Settings.read().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("flags", "says"), [({"port": 70000}, "port"), ({"max_samples": 0}, "max_samples"), ({"threads": -1}, "threads")]
)
def test_bad_flags(flags: dict[str, int], says: str) -> None:
    with pytest.raises(StartupError, match=says):
        Settings.read(**flags)


def test_bad_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMBAYES_PORT", "many")
    with pytest.raises(StartupError, match=r"setting port.*'many'"):
        Settings.read()


def test_misspelt_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that is misspelt is no limit, so it is refused."""
    monkeypatch.setenv("SLIMBAYES_MAX_PIXEL", "100")
    with pytest.raises(StartupError, match=r"SLIMBAYES_MAX_PIXEL .*SLIMBAYES_MAX_PIXELS"):
        Settings.read()


@pytest.mark.parametrize("name", ["SLIMBAYES_REGISTRY_USERNAME", "SLIMBAYES_SIGN_PASSWORD", "SLIMBAYES_URL"])
def test_variables_that_are_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "given")
    Settings.read()


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings.read().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"tls_cert": "cert.pem"}, "tls_cert and tls_key go together"),
        ({"tls_key": "key.pem"}, "tls_cert and tls_key go together"),
        ({"metrics_key": True}, "set keys_file too"),
        ({"rate_limit": "fast"}, "setting rate_limit: expected images in a time such as 100/second"),
        ({"formats": "png,heic"}, "setting formats: input should be 'png', 'jpeg'"),
        ({"formats": ""}, "setting formats"),
        ({"cors_origins": "app.example.org"}, "setting cors_origins: expected origins such as https"),
        ({"cors_origins": "https://app.example.org/"}, "setting cors_origins"),
        ({"trusted_hosts": "https://example.org"}, "setting trusted_hosts: expected host names"),
        ({"trusted_hosts": "*"}, "setting trusted_hosts"),
        ({"proxies": "my-proxy"}, "setting proxies: expected addresses or networks"),
        ({"decode_ms": "0"}, "setting decode_ms"),
    ],
)
def test_settings_that_make_no_sense(flags: dict[str, object], says: str) -> None:
    """Each is refused in words, and without what the others are."""
    with pytest.raises(StartupError, match=says) as refused:
        Settings.read(**flags)
    assert len(str(refused.value)) < 250


def test_several_values_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As text with commas, in a flag and in the environment."""
    monkeypatch.setenv("SLIMBAYES_PROXIES", "10.0.0.0/8, 192.0.2.1")
    settings = Settings.read(formats="png,tiff")
    assert settings.formats == ("png", "tiff")
    assert settings.proxies == ("10.0.0.0/8", "192.0.2.1/32")


def test_everything_that_protects_is_off_until_asked_for() -> None:
    settings = Settings.read()
    off = (settings.keys_file, settings.rate_limit, settings.tls_cert, settings.metrics_key)
    assert not any((*off, settings.cors_origins, settings.trusted_hosts, settings.proxies))
    assert "tiff" not in settings.formats
