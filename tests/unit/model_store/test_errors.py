"""An object's error says what it prevented, and stays of its kind."""

from __future__ import annotations

import pytest

from model_store.errors import (
    ManifestError,
    ObjectError,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
    error_context,
)


@pytest.mark.parametrize("kind", [ObjectError, ObjectNotFoundError, StoreUnavailableError])
def test_what_an_object_prevented_comes_first(kind: type[ObjectError]) -> None:
    cause = kind("no answer")
    with (
        pytest.raises(kind, match=r"^cannot publish digits: no answer$") as raised,
        error_context("cannot publish digits"),
    ):
        raise cause
    assert type(raised.value) is kind
    assert raised.value.__cause__ is cause


@pytest.mark.parametrize("error", [StoreError("other"), ManifestError("other"), OSError("other")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, error_context("cannot publish digits"):
        raise error
    assert raised.value is error
