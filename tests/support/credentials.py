"""Credentials of a registry in its usual places: the environment, and the configuration of Docker."""

from __future__ import annotations

import base64
import json

import pytest

from model_store.storage.oci.auth import PASSWORD, USERNAME


def log_in(monkeypatch: pytest.MonkeyPatch, username: str, password: str) -> None:
    monkeypatch.setenv(USERNAME, username)
    monkeypatch.setenv(PASSWORD, password)


def auths(entries: dict[str, str]) -> str:
    """Docker's configuration: place to `user:password`."""
    told = {place: {"auth": base64.b64encode(who.encode()).decode()} for place, who in entries.items()}
    return json.dumps({"auths": told})
