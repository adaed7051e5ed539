"""`slimbayes recalibrate`: calibrate a published version on labelled pictures, as a new version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_store.cli.options import NewClassesOption, SignKeyOption, StoreOption, TrustedOption, trusted_keys
from model_store.errors import StoreError
from model_store.names import check_alias
from model_store.signing import SigningKey
from model_store.small_samples import accuracy_text
from model_store.store import Store
from model_store.text import printable
from service.cli.main import reporting
from service.resources import usable_cores

if TYPE_CHECKING:
    from model_store.manifest import Manifest
    from service.recalibration.labelled_folder import LabelledFolder
    from service.recalibration.recalibrate import LevelChange

app = typer.Typer(add_completion=False)


@app.command("recalibrate")
def recalibrate_command(
    version: Annotated[str, typer.Argument(help="Version or alias to calibrate anew.")],
    folder: Annotated[Path, typer.Argument(help="Labelled pictures: a folder with a folder for each class.")],
    store: StoreOption = "store",
    model: Annotated[str | None, typer.Option(help="Name of the model; may be omitted if there is only one.")] = None,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    sign_key: SignKeyOption = None,
    new_classes: NewClassesOption = False,
    trusted: TrustedOption = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Compute threads; by default as many as the CPU quota allows.")
    ] = None,
) -> None:
    """Fit temperature, thresholds and prediction sets to labelled pictures, and publish them as a new version.

    Its levels have the files of the old version. Its figures are of the pictures, each part of which is measured with
    what the others say.
    """
    from service.recalibration.labelled_folder import LabelledFolder
    from service.recalibration.recalibrate import recalibrate

    with reporting(StoreError):
        if alias is not None:
            check_alias(alias)
        key = None if sign_key is None else SigningKey.read(sign_key)
        opened = Store.open(store, trusted_keys(trusted))
        name = opened.sole_model(model)
        manifest = opened.manifest(name, opened.resolve(name, version))
        found = LabelledFolder.scan(folder, manifest.classes)
        _report_pictures(found, manifest)
        new = recalibrate(
            opened, manifest, found, threads or usable_cores(), key, _report_level, new_classes=new_classes
        )
        if alias is not None:
            opened.set_alias(name, alias, new.version)
    typer.echo(f"Published {new.model} {new.version} to {store}, with the level files of {new.files_of[0]}")


def _report_pictures(found: LabelledFolder, manifest: Manifest) -> None:
    counts = found.counts(manifest.classes)
    typer.echo(
        f"{printable(found.folder)}: {len(found):,} pictures of {len(counts)} of {len(manifest.classes)} classes"
    )
    if found.left_out:
        first = printable(found.left_out[0])
        typer.echo(f"left out, since no pictures of a class: {len(found.left_out):,} files, such as {first}", err=True)
    if found.missing:
        names = ", ".join(map(printable, found.missing))
        typer.echo(f"Warning: no pictures of {names}: thresholds are those of the other classes", err=True)


def _report_level(change: LevelChange) -> None:
    """Print the figures on the pictures, with the calibration of before and with the new one."""
    before, after = change.before, change.after
    old, new = change.quality_before.metrics, after.metrics
    typer.echo(f"{after.name}: accuracy {accuracy_text(new.accuracy, new.test_images)}")
    typer.echo(
        f"  temperature {before.calibration.temperature:.3f} -> {after.calibration.temperature:.3f}, "
        f"NLL {old.nll:.4f} -> {new.nll:.4f}, ECE {old.ece:.4f} -> {new.ece:.4f}, "
        f"abstained {old.abstained:.1%} -> {new.abstained:.1%}"
    )
    shares = change.quality_before.coverage["lac"]
    for alpha, share in after.coverage["lac"].items():
        was = f"{shares[alpha]:.1%}" if alpha in shares else "none"
        typer.echo(f"  sets at alpha {alpha} hold the class of {was} -> {share:.1%}, expected {1 - float(alpha):.0%}")
    for alpha, needed in after.calibration.missing_sets.items():
        typer.echo(f"  sets at alpha {alpha} take {needed} pictures: there are none")
