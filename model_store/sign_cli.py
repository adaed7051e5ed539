"""The command that signs a version which is there already: sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_store.options import (
    DEFAULT_STORE,
    JsonOption,
    ModelArgument,
    StoreOption,
    VersionArgument,
    print_json,
    reporting,
)
from model_store.signature import SigningKey
from model_store.store import Store


def sign(
    model: ModelArgument,
    version: VersionArgument = None,
    *,
    key: Annotated[Path, typer.Option("--sign-key", help="Private key: ECDSA, in PEM.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Sign a version, once its files are verified; a signature that it has is replaced."""
    with reporting():
        signing, opened = SigningKey.read(key), Store.open(store)
        manifest = opened.verify(model, opened.resolve(model, version))
        opened.attach(manifest, signing.sign(manifest))
    if as_json:
        return print_json({"model": model, "version": manifest.version, "key": signing.fingerprint})
    return typer.echo(f"{model} {manifest.version} is signed with the key {signing.fingerprint[:12]}")
