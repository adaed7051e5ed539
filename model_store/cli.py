"""`slimbayes models`: look at the store and look after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from model_store.collection import collect
from model_store.errors import StoreError
from model_store.graph import read_graph
from model_store.location import default_location
from model_store.store import Store
from model_store.table import graph_table, levels_table

app = typer.Typer(
    help="List, show, verify, promote and clean up the models in a store.", no_args_is_help=True, add_completion=False
)

StoreOption = Annotated[
    str, typer.Option("--store", envvar="SLIMBAYES_STORE", help="Folder or URL of the store.", show_default=True)
]
ReadOption = Annotated[
    str | None,
    typer.Option(
        "--store", envvar="SLIMBAYES_STORE", help="Folder or URL of the store; by default `store`, else the zoo inside."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ModelArgument = Annotated[str, typer.Argument(help="Name of the model.")]
VersionArgument = Annotated[
    str | None, typer.Argument(help="Version or alias; by default `production`, else the newest.", show_default=False)
]
DEFAULT_STORE = "store"


@app.command("list")
def list_models(store: ReadOption = None, as_json: JsonOption = False) -> None:
    """List every model, version and alias."""
    with _reporting():
        opened = Store.open(store or default_location())
        models = [(name, opened.versions(name), opened.aliases(name)) for name in opened.models()]
    if as_json:
        return _print_json(
            {"models": [{"name": name, "versions": versions, "aliases": names} for name, versions, names in models]}
        )
    table = _names_table("aliases")
    for name, versions, aliases in models:
        for version in reversed(versions):
            table.add_row(name, version, ", ".join(sorted(a for a, target in aliases.items() if target == version)))
    return Console().print(table if models else "The store is empty: publish with `slimbayes prune`.")


@app.command()
def show(
    model: ModelArgument,
    version: VersionArgument = None,
    graph: Annotated[bool, typer.Option("--graph", help="Show the operations of one level instead.")] = False,
    level: Annotated[str | None, typer.Option(help="That level; by default the version's default one.")] = None,
    store: ReadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one version: where it comes from, and its levels side by side."""
    with _reporting():
        opened = Store.open(store or default_location())
        manifest = opened.manifest(model, opened.resolve(model, version))
        if graph:
            nodes = read_graph(opened.read_level(manifest, level or manifest.default_level))
            return (
                _print_json({"nodes": [asdict(node) for node in nodes]})
                if as_json
                else Console().print(graph_table(nodes))
            )
    if as_json:
        return typer.echo(manifest.to_json(), nl=False)
    training = manifest.training
    console = Console()
    console.print(f"[bold]{manifest.model}[/bold] {manifest.version}")
    console.print(
        escape(
            f"{training.architecture} on {training.dataset}, {training.estimator}, {training.epochs} epochs, "
            f"seed {training.seed}; {len(manifest.classes)} classes; default level {manifest.default_level}"
        )
    )
    return console.print(levels_table(manifest.levels))


@app.command()
def verify(
    model: Annotated[str | None, typer.Argument(help="Model; all by default.", show_default=False)] = None,
    version: Annotated[str | None, typer.Argument(help="Version or alias; all by default.", show_default=False)] = None,
    store: ReadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every file against its checksum; exit status 1 if anything is not as published."""
    with _reporting():
        opened = Store.open(store or default_location())
        results = [
            {"model": name, "version": one, "problem": _problem(opened, name, one)}
            for name in ([model] if model else opened.models())
            for one in ([opened.resolve(name, version)] if version else opened.versions(name))
        ]
    if as_json:
        _print_json({"versions": results})
    else:
        table = _names_table("result")
        for row in results:
            table.add_row(
                row["model"], row["version"], f"[red]{escape(row['problem'])}" if row["problem"] else "[green]intact"
            )
        Console().print(table)
    if any(row["problem"] for row in results):
        raise typer.Exit(1)


@app.command()
def promote(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="Version or alias to promote.")],
    alias: Annotated[str, typer.Option(help="The alias that is to mean it.")] = "production",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version, once that version is verified."""
    with _reporting():
        opened = Store.open(store)
        target = opened.resolve(model, version)
        opened.verify(model, target)
        opened.set_alias(model, alias, target)
    if as_json:
        return _print_json({"model": model, "alias": alias, "version": target})
    return typer.echo(f"{model}: {alias} is now {target}")


@app.command()
def gc(
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what interrupted publications left behind."""
    with _reporting():
        removed = collect(Store.open(store), dry_run=dry_run)
    if as_json:
        return _print_json({"removed": removed, "dry_run": dry_run})
    verb = "Would remove" if dry_run else "Removed"
    return typer.echo("\n".join(f"{verb} {path}" for path in removed) or "Nothing to remove.")


def _names_table(last: str) -> Table:
    """A table of versions in which a long name is continued on the next line rather than cut."""
    return Table(Column("model", overflow="fold"), Column("version", no_wrap=True), Column(last, overflow="fold"))


def _problem(store: Store, model: str, version: str) -> str | None:
    try:
        store.verify(model, version)
    except StoreError as error:
        return str(error)
    return None


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, indent=2))


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn the store's errors into a message and exit status 1."""
    try:
        yield
    except StoreError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
