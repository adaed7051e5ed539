"""Inspect a store with `slimbayes models`; `manage` and `transfer` have the commands that change one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from model_store.cli import manage, options, transfer
from model_store.errors import StoreError
from model_store.listing import ModelListing
from model_store.onnx_file.summary import read_graph
from model_store.reports.card import model_card
from model_store.reports.diff import as_json as diff_as_json
from model_store.reports.diff import levels_table as diff_levels_table
from model_store.reports.diff import provenance_table
from model_store.reports.mean_network import mean_table
from model_store.reports.plot import as_svg
from model_store.reports.tables import graph_table, levels_table
from model_store.reports.terminal import cell
from model_store.storage.location import default_location
from model_store.store import Store
from model_store.text import printable

app = typer.Typer(
    help="List, compare, promote, move and remove the models of a store.", no_args_is_help=True, add_completion=False
)


@app.command("list")
def list_models(store: options.ReadOption = None, as_json: options.JsonOption = False) -> None:
    """List every model, version and alias."""
    with options.reporting():
        found = dict(Store.open(store or default_location()).listings())
    models = {name: each for name, each in found.items() if not isinstance(each, ModelListing) or _has_entries(each)}
    if as_json:
        return options.print_json({"models": [_listed(name, each) for name, each in models.items()]})
    table = options.names_table("aliases")
    for name, listing in models.items():
        for entry, remark in _rows(listing):
            table.add_row(cell(name), cell(entry), cell(remark))
    return Console().print(table if models else "The store is empty: publish with `slimbayes prune`.")


@app.command("show")
def show(
    model: options.ModelArgument,
    version: options.VersionArgument = None,
    graph: Annotated[bool, typer.Option("--graph", help="Show the operations of one level instead.")] = False,
    level: Annotated[
        str | None, typer.Option(help="Level for --graph; by default the version's default level.")
    ] = None,
    store: options.ReadOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show one version: its origin, and its levels side by side."""
    with options.reporting():
        opened = Store.open(store or default_location())
        manifest = opened.manifest(model, opened.resolve(model, version))
        if graph:
            nodes = read_graph(opened.read_level(manifest, level or manifest.default_level))
            if as_json:
                return options.print_json({"nodes": [asdict(node) for node in nodes]})
            return Console().print(graph_table(nodes))
    if as_json:
        return options.print_json(json.loads(manifest.to_json()))
    training = manifest.training
    console = Console()
    console.print(f"[bold]{manifest.model}[/bold] {manifest.version}")
    console.print(
        cell(
            f"{training.architecture} on {training.dataset}, {training.estimator}, {training.epochs} epochs, "
            f"seed {training.seed}; {len(manifest.classes)} classes; default level {manifest.default_level}"
        )
    )
    console.print(levels_table(manifest.levels))
    return console.print(mean_table(manifest.levels))


@app.command("card")
def card(
    model: options.ModelArgument,
    version: options.VersionArgument = None,
    store: options.ReadOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Print a version's model card, in Markdown."""
    with options.reporting():
        opened = Store.open(store or default_location())
        manifest = opened.manifest(model, opened.resolve(model, version))
    if as_json:
        return options.print_json({"model": model, "version": manifest.version, "card": model_card(manifest)})
    return typer.echo(model_card(manifest), nl=False)


@app.command("diff")
def diff(
    model: options.ModelArgument,
    before: Annotated[str, typer.Argument(metavar="FROM", help="Version or alias.")],
    after: Annotated[
        str | None, typer.Argument(metavar="[TO]", help="Version or alias; by default the newest.", show_default=False)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Also plot the comparison to this SVG file.")] = None,
    store: options.ReadOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Compare two versions: their levels side by side, and how they were made."""
    with options.reporting():
        opened = Store.open(store or default_location())
        later = opened.resolve(model, after) if after else opened.versions(model)[-1]
        old, new = (opened.manifest(model, version) for version in (opened.resolve(model, before), later))
        if plot is not None:
            _write(plot, as_svg(old, new))
    if as_json:
        return options.print_json(diff_as_json(old, new))
    console = Console()
    console.print(diff_levels_table(old, new))
    changes = provenance_table(old, new)
    return console.print(changes if changes.rows else "They were made in the same way.")


@app.command("history")
def history(
    model: options.ModelArgument, store: options.ReadOption = None, as_json: options.JsonOption = False
) -> None:
    """Show every change of an alias: when, which, from and to which version, by whom."""
    with options.reporting():
        changes = Store.open(store or default_location()).history(model)
    if as_json:
        return options.print_json({"model": model, "changes": [change.to_document() for change in changes]})
    table = Table("when", "alias", "from", "to", Column("by", overflow="fold"))
    for change in reversed(changes):
        before, after = (version or "—" for version in (change.before, change.version))
        by = f"refused: {change.problem}" if change.problem else change.by
        table.add_row(f"{change.time:%Y-%m-%d %H:%M:%S}", *map(cell, (change.alias, before, after, by)))
    return Console().print(table if changes else f"{model} has no aliases yet: `slimbayes models promote` sets one.")


@app.command("verify")
def verify(
    model: Annotated[str | None, typer.Argument(help="Model; all by default.", show_default=False)] = None,
    version: Annotated[str | None, typer.Argument(help="Version or alias; all by default.", show_default=False)] = None,
    store: options.ReadOption = None,
    trusted: options.TrustedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Check every file against its checksum, with keys also signatures; exit status 1 if a check fails."""
    with options.reporting():
        opened = Store.open(store or default_location(), options.trusted_keys(trusted))
        results = list(_verified(opened, model, version))
    if as_json:
        options.print_json({"versions": results})
    else:
        table = options.names_table("result")
        for row in results:
            problem = row["problem"]
            result = Text(printable(problem), "red") if problem else Text("intact", "green")
            table.add_row(cell(row["model"]), cell(row["version"] or ""), result)
        Console().print(table)
    if any(row["problem"] for row in results):
        raise typer.Exit(1)


COMMANDS: dict[str, Callable[..., None]] = {
    "promote": manage.promote,
    "rollback": manage.rollback,
    "unalias": manage.unalias,
    "delete": manage.delete,
    "gc": manage.gc,
    "sign": manage.sign,
    "push": transfer.push,
    "pull": transfer.pull,
    "export": transfer.export,
    "import": transfer.import_,
}
for name, command in COMMANDS.items():
    app.command(name)(command)


def _has_entries(listing: ModelListing) -> bool:
    return bool(listing.versions or listing.refused)


def _listed(name: str, listing: ModelListing | StoreError) -> dict[str, Any]:
    """Return a model as a document; `refused` has what the store cannot use, as ENTRY: REASON."""
    if isinstance(listing, StoreError):
        return {"name": name, "versions": [], "aliases": {}, "refused": [str(listing)]}
    refused = [f"{entry}: {reason}" for entry, reason in listing.refused.items()]
    return {"name": name, "versions": listing.versions, "aliases": listing.aliases, "refused": refused}


def _rows(listing: ModelListing | StoreError) -> Iterator[tuple[str, str]]:
    """Yield a model's versions with their aliases, newest first, then what is refused, with the reasons."""
    if isinstance(listing, StoreError):
        yield "", f"refused: {listing}"
        return
    for version in reversed(listing.versions):
        yield version, ", ".join(sorted(alias for alias, target in listing.aliases.items() if target == version))
    for entry, reason in listing.refused.items():
        yield entry, f"refused: {reason}"


def _verified(store: Store, model: str | None, version: str | None) -> Iterator[dict[str, str | None]]:
    """Verify one version, one model or all; yield `model`, `version` and `problem`, None where there is none."""
    for name, listing in store.listings() if model is None else [(model, None)]:
        if isinstance(listing, StoreError):
            yield {"model": name, "version": None, "problem": str(listing)}
            continue
        versions = store.versions(name) if listing is None else listing.versions
        for each in [store.resolve(name, version)] if version else versions:
            yield {"model": name, "version": each, "problem": _problem(store, name, each)}


def _problem(store: Store, model: str, version: str) -> str | None:
    try:
        store.verify(model, version)
    except StoreError as error:
        return str(error)
    return None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
