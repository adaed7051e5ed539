"""Credentials for a registry: found in the usual places, and sent nowhere without TLS."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest

from model_store.errors import ObjectError
from model_store.storage.oci.auth import Access, Credentials, Request, find_credentials
from tests.support.credentials import auths, log_in

pytestmark = pytest.mark.usefixtures("home")
HELPER = """#!/bin/sh
read host
case "$host" in
  helped.example.org) echo '{"Username": "ann", "Secret": "from the helper"}';;
  token.example.org) echo '{"Username": "<token>", "Secret": "refresh"}';;
  *) echo "credentials not found"; exit 1;;
esac
"""


# Where credentials are found


def test_places_in_their_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "registry.example.org/vision"
    assert find_credentials(place) is None
    for name, folder in {"XDG_RUNTIME_DIR": "run", "": ".docker", "DOCKER_CONFIG": "docker"}.items():
        path = home / folder / ("containers/auth.json" if name.startswith("XDG") else "config.json")
        path.parent.mkdir(parents=True)
        path.write_text(auths({"registry.example.org": f"{folder}:secret:with colon"}))
        if name:
            monkeypatch.setenv(name, str(home / folder))
        assert find_credentials(place) == Credentials(folder, "secret:with colon")
    (home / "auth.json").write_text(auths({"registry.example.org": "file:secret"}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    assert find_credentials(place) == Credentials("file", "secret")
    log_in(monkeypatch, "ann", "secret")
    assert find_credentials(place) == Credentials("ann", "secret")


def test_the_entry_that_names_most_of_a_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        "https://one.example.org/v2/": "one:a",
        "two.example.org:5000": "two:a",
        "two.example.org:5000/vision": "vision:a",
        "example.org": "other:a",
    }
    (home / "auth.json").write_text(auths(entries))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    found = {
        place: (find_credentials(place) or Credentials()).username
        for place in ("one.example.org/a", "two.example.org:5000/vision/a", "two.example.org:5000/visions", "org/a")
    }
    assert list(found.values()) == ["one", "vision", "two", ""]


def test_helpers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = home / "docker-credential-test"
    helper.write_text(HELPER)
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(home), prepend=":")
    (home / ".docker").mkdir()
    told = json.loads(auths({"plain.example.org": "bob:secret"}))
    path = home / ".docker" / "config.json"
    path.write_text(json.dumps(told | {"credsStore": "test"}))
    assert find_credentials("helped.example.org/a") == Credentials("ann", "from the helper")
    assert find_credentials("token.example.org/a") == Credentials(refresh_token="refresh")
    assert find_credentials("plain.example.org/a") == Credentials("bob", "secret")
    path.write_text(json.dumps({"credHelpers": {"helped.example.org": "missing"}}))
    assert find_credentials("other.example.org/a") is None
    with pytest.raises(ObjectError, match="docker-credential-missing does not give credentials"):
        find_credentials("helped.example.org/a")


@pytest.mark.parametrize("content", ["", "[]", '{"auths": []}', '{"auths": {"a.example.org": {"auth": "?"}}}', "\0"])
def test_a_file_that_is_none(home: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (home / "auth.json").write_text(content)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    with pytest.raises(ObjectError, match=r"the file of credentials auth\.json cannot be read"):
        find_credentials("a.example.org/b")


@pytest.mark.parametrize(
    "challenge", ['Bearer realm="http://tokens.example.org/"', "Bearer", 'Bearer realm="file:///etc/passwd"']
)
def test_passwords_go_nowhere_without_tls(challenge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, "ann", "secret")
    asked = list[Request]()
    access = Access("registry.example.org/vision", plain=False)
    with pytest.raises(ObjectError, match="not reached over TLS"):
        access.answer_challenge(challenge, "repository:vision:pull", asked.append)
    assert asked == []


def test_a_long_challenge_is_read_once() -> None:
    """A search that began anew at each byte of a registry's header would take 4 s for 32 KiB."""
    begun = time.thread_time()
    with pytest.raises(ObjectError, match="its token service is not reached over TLS"):
        Access("registry.example.org/vision", plain=False).answer_challenge("Bearer " + "a" * 2**15, "", lambda _: {})
    assert time.thread_time() - begun < 2  # some 0.001


@pytest.mark.parametrize("answer", [None, {}, {"token": 1}, {"token": "two\nlines"}])
def test_tokens_that_are_none(answer: dict[str, object] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, "ann", "secret")
    access = Access("registry.example.org/vision", plain=False)
    with pytest.raises(ObjectError, match="the credentials are wrong"):
        access.answer_challenge('Bearer realm="https://tokens.example.org/"', "", lambda request: answer)
    assert access.value("") is None
