"""Change a store: promote, rollback, unalias, delete, gc, sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_store.aliases import predecessor
from model_store.cli import options
from model_store.errors import NotInStoreError, StoreError
from model_store.listing import ModelListing
from model_store.maintenance import collect_garbage, superseded
from model_store.signing import SigningKey
from model_store.store import Store
from model_store.text import printable


def promote(
    model: options.ModelArgument,
    version: Annotated[str, typer.Argument(help="Version or alias to promote.")],
    alias: options.AliasOption = "production",
    store: options.StoreOption = options.DEFAULT_STORE,
    trusted: options.TrustedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Point an alias at a version, after verifying it."""
    with options.reporting():
        opened = Store.open(store, options.trusted_keys(trusted))
        _promote(opened, model, alias, opened.resolve(model, version), as_json)


def rollback(
    model: options.ModelArgument,
    alias: options.AliasOption = "production",
    store: options.StoreOption = options.DEFAULT_STORE,
    trusted: options.TrustedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Point an alias back at its previous version; repeat to go back further."""
    with options.reporting():
        opened = Store.open(store, options.trusted_keys(trusted))
        listing = opened.listing(model)
        target = predecessor(alias, listing.changes, listing.versions)
        if target is None:
            raise NotInStoreError(f"{alias} of {model} has no earlier version to go back to")
        _promote(opened, model, alias, target, as_json)


def unalias(
    model: options.ModelArgument,
    alias: Annotated[str, typer.Argument(help="The alias.")],
    store: options.StoreOption = options.DEFAULT_STORE,
    as_json: options.JsonOption = False,
) -> None:
    """Remove an alias; its version stays."""
    with options.reporting():
        Store.open(store).remove_alias(model, alias)
    document = {"model": model, "alias": alias, "version": None}
    options.print_result(as_json, document, f"{model}: {alias} no longer points to a version")


def delete(
    model: options.ModelArgument,
    version: Annotated[str, typer.Argument(help="The version.")],
    store: options.StoreOption = options.DEFAULT_STORE,
    dry_run: options.DryRunOption = False,
    yes: options.YesOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Remove one version that no alias points to."""
    with options.reporting():
        opened = Store.open(store)
        target = opened.deletable(model, version)
        if not dry_run:
            options.confirm(f"Remove {model} {target} for good?", yes)
            opened.delete(model, target)
    _print_removed([f"{model}/{target}"], dry_run, as_json)


def gc(
    store: options.StoreOption = options.DEFAULT_STORE,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0, help="Also remove versions that are not among the newest KEEP and that no alias points to."
        ),
    ] = None,
    keep_aliased: Annotated[
        bool, typer.Option("--keep-aliased", help="Keep versions that an alias ever pointed to, for rollbacks.")
    ] = False,
    dry_run: options.DryRunOption = False,
    yes: options.YesOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Remove leftovers of interrupted publications, and with --keep old versions."""
    with options.reporting():
        opened = Store.open(store)
        old = [] if keep is None else _superseded(opened, keep, keep_aliased)
        if old and not dry_run:
            options.confirm(f"Remove {len(old)} versions for good, from {old[0][0]} {old[0][1]} on?", yes)
            old = [(model, version) for model, version in old if _deleted(opened, model, version)]
        removed = collect_garbage(opened, dry_run=dry_run)
    _print_removed([*(f"{model}/{version}" for model, version in old), *removed], dry_run, as_json)


def sign(
    model: options.ModelArgument,
    version: options.VersionArgument = None,
    *,
    key: Annotated[Path, typer.Option("--sign-key", help="Private key: ECDSA, in PEM.")],
    store: options.StoreOption = options.DEFAULT_STORE,
    as_json: options.JsonOption = False,
) -> None:
    """Sign a version after verifying its files, replacing an earlier signature."""
    with options.reporting():
        signing, opened = SigningKey.read(key), Store.open(store)
        manifest = opened.verify(model, opened.resolve(model, version))
        opened.attach(manifest, signing.sign(manifest))
    document = {"model": model, "version": manifest.version, "key": signing.fingerprint}
    text = f"{model} {manifest.version} is signed with the key {signing.fingerprint[:12]}"
    options.print_result(as_json, document, text)


def _promote(store: Store, model: str, alias: str, target: str, as_json: bool) -> None:
    store.verify(model, target)
    store.set_alias(model, alias, target)
    document = {"model": model, "alias": alias, "version": target}
    options.print_result(as_json, document, f"{model}: {alias} is now {target}")


def _superseded(store: Store, keep: int, keep_aliased: bool) -> list[tuple[str, str]]:
    return [
        (model, version)
        for model, listing in store.listings()
        if isinstance(listing, ModelListing)
        for version in superseded(listing, keep, keep_aliased=keep_aliased)
    ]


def _deleted(store: Store, model: str, version: str) -> bool:
    """Delete a version; where that is refused, say so, since another command may have promoted it meanwhile."""
    try:
        store.delete(model, version)
    except StoreError as error:
        typer.echo(f"Kept {model} {version}: {printable(error)}", err=True)
        return False
    return True


def _print_removed(names: list[str], dry_run: bool, as_json: bool) -> None:
    verb = "Would remove" if dry_run else "Removed"
    text = "\n".join(f"{verb} {name}" for name in names) or "Nothing to remove."
    options.print_result(as_json, {"removed": names, "dry_run": dry_run}, text)
