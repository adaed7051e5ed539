"""Move versions: push, pull, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_store.cli import options
from model_store.errors import VersionExistsError
from model_store.manifest import Manifest
from model_store.names import check_alias
from model_store.signing import digests_of
from model_store.storage.location import default_location
from model_store.store import Store
from model_store.transfer import read_archive, transfer, write_archive

AsOption = Annotated[str | None, typer.Option("--alias", help="Also point this alias at it there.")]


def push(
    model: options.ModelArgument,
    version: options.VersionArgument = None,
    *,
    to: Annotated[str, typer.Option("--to", help="Folder or URL of the store to copy it to.")],
    alias: AsOption = None,
    new_classes: options.NewClassesOption = False,
    store: options.ReadOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Copy a version from this store to another."""
    with options.reporting():
        source = Store.open(store or default_location())
        _transfer(source, Store.create(to), model, version, alias, new_classes, as_json)


def pull(
    model: options.ModelArgument,
    version: options.VersionArgument = None,
    *,
    origin: Annotated[str, typer.Option("--from", help="Folder or URL of the store to copy it from.")],
    alias: AsOption = None,
    new_classes: options.NewClassesOption = False,
    store: options.StoreOption = options.DEFAULT_STORE,
    trusted: options.TrustedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Copy a version from another store to this one."""
    with options.reporting():
        source = Store.open(origin, options.trusted_keys(trusted))
        _transfer(source, Store.create(store), model, version, alias, new_classes, as_json)


def export(
    model: options.ModelArgument,
    version: options.VersionArgument = None,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; by default MODEL-VERSION.tar.")] = None,
    store: options.ReadOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Write a version as one archive for `import`."""
    with options.reporting():
        opened = Store.open(store or default_location())
        target = opened.resolve(model, version)
        path = to or Path(f"{model}-{target}.tar")
        with options.working(f"Writing {path}"):
            write_archive(opened, model, target, path)
    size = path.stat().st_size
    document = {"model": model, "version": target, "file": str(path), "bytes": size}
    options.print_result(as_json, document, f"Wrote {model} {target} to {path} ({size:,} bytes)")


def import_(
    archive: Annotated[Path, typer.Argument(help="Archive written by `export`.")],
    alias: AsOption = None,
    new_classes: options.NewClassesOption = False,
    store: options.StoreOption = options.DEFAULT_STORE,
    trusted: options.TrustedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Verify an archive and publish its version."""
    with options.reporting():
        if alias is not None:
            check_alias(alias)
        opened = Store.create(store)
        with options.working(f"Reading {archive}"):
            manifest, files, signature = read_archive(archive)
            if (keys := options.trusted_keys(trusted)) is not None:
                digests = digests_of(manifest, manifest.to_json())
                keys.check(digests, signature, f"{manifest.model} {manifest.version}")
            try:
                opened.publish(manifest, files, signature, new_classes=new_classes)
                sent = True
            except VersionExistsError:
                opened.verify(manifest.model, manifest.version)
                sent = False
        _finish(opened, manifest, sent, alias, as_json)


def _transfer(
    source: Store, target: Store, model: str, name: str | None, alias: str | None, new_classes: bool, as_json: bool
) -> None:
    if alias is not None:
        check_alias(alias)
    version = source.resolve(model, name)
    with options.working(f"Copying {model} {version}"):
        manifest, sent = transfer(source, target, model, version, new_classes=new_classes)
    _finish(target, manifest, sent, alias, as_json)


def _finish(store: Store, manifest: Manifest, sent: bool, alias: str | None, as_json: bool) -> None:
    """Promote the version where requested, and print the result."""
    model, version = manifest.model, manifest.version
    if alias is not None:
        store.set_alias(model, alias, version)
    document = {"model": model, "version": version, "store": store.url, "sent": sent, "alias": alias}
    done = f"{model} {version} is in {store.url} now" if sent else f"{model} {version} was in {store.url} already"
    options.print_result(as_json, document, f"{done}, as {alias}" if alias else done)
