"""Build the zoo, the store that is installed with the package: levels of finished studies, and a model card.

    python -m tools.build_zoo RUN STUDY [STUDY …] --data-dir data

The run is the folder of four members, and studies are of each of them; their commands are in docs/results/README.md.
Every level but the dense one is computed in eight bits.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from model_store.manifest import Level, Manifest
from model_store.reports.mean_network import mean_section
from model_store.storage.location import ZOO
from model_store.store import Store

MODEL = "cifar10-resnet20"
LEVELS = "weight/p80-m1,weight/p90-m1,weight/p95-m1,channel/x4-m1,channel/x4"


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the run of all members.")],
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies of them.")],
    data_dir: Annotated[Path, typer.Option(help="Folder of CIFAR-10.")] = Path("data"),
    levels: Annotated[str, typer.Option(help="Levels, as `slimbayes prune --from-study` takes them.")] = LEVELS,
    store: Annotated[Path, typer.Option(help="Folder of the store.")] = ZOO,
) -> None:
    """Publish the levels in place of the existing ones, and write the model card."""
    shutil.rmtree(store / MODEL, ignore_errors=True)
    command = [sys.executable, "-m", "pruning", str(run), "--levels", levels, "--eight-bits", "all"]
    command += [part for study in studies for part in ("--from-study", str(study))]
    command += ["--store", str(store), "--model", MODEL, "--data-dir", str(data_dir)]
    if subprocess.run(command, check=False).returncode != 0:
        raise typer.Exit(1)
    opened = Store.open(store)
    manifest = opened.manifest(MODEL, opened.resolve(MODEL))
    (store / MODEL / "README.md").write_text(card(manifest))


def card(manifest: Manifest) -> str:
    """Render the model card in Markdown."""
    dense, default = manifest.levels[0], manifest.level(manifest.default_level)
    assert default is not None
    rows = "\n".join(row(level, dense) for level in manifest.levels)
    return f"""# {manifest.model} {manifest.version}

A Bayesian resnet20 that classifies photographs of 32x32 pixels into ten classes, at several pruning levels:
{", ".join(manifest.classes)}. `slimbayes serve --store zoo` serves it, for trying and for
comparison. It is no model for a product: it takes every image for one of its ten classes, or abstains.

| level | networks | bytes | multiply-adds a draw | accuracy | NLL | ECE | mutual information | AUROC, CIFAR-100 |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

On the {dense.metrics.test_images:,} test images of CIFAR-10, after temperature scaling on 5,000 held-out training
images, which also gave the conformal quantiles and the thresholds. Mutual information, in nats, is the mean over test
images. AUROC is that of separating test images from 2,000 images of CIFAR-100 by predictive entropy. The default level
is `{default.name}`: draws take turns through {default.members} networks, which were trained from different beginnings
and pruned each by itself.

{mean_section(manifest.levels)}

All levels but `dense` are computed in eight bits.

## Where it comes from

{origin(manifest)}

## Data and licence

CIFAR-10: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; 104 of its images (81 of the
training set, 23 of the test set) were decoded from JPEG. The data set has no formal licence; none of its images are
included. The weights are licensed as the code is, under Apache-2.0.

## Limits

It was trained on small, centred photographs; drawings, text, faces and anything else are out of distribution. It
separates noise and blank images from photographs nearly always, and other classes of photographs (CIFAR-100) as the
AUROC above shows. Prediction sets have their coverage only on images like those of the calibration set.
"""


def origin(manifest: Manifest) -> str:
    """Say in Markdown how the members were trained and pruned."""
    training = manifest.training
    settings = training.hyperparameters
    seeds = ", ".join(str(member.get("seed", training.seed)) for member in settings.get("members", [{}]))
    return (
        f"Trained as `docs/results/README.md` of the source says: plain networks first, then {training.epochs} epochs "
        f"with the estimator `{training.estimator}` (learning rate {settings['learning_rate']:g}, beta "
        f"{settings['beta']:g}, prior scale {settings['prior_scale']:g}, initial scale {settings['initial_scale']:g}, "
        f"{settings['precision']}), with seeds {seeds}. Pruned by `slimbayes study`, and selected by "
        f"`tools/build_zoo.py`:\n\n" + "\n".join(way(name, how) for name, how in settings["pruning"].items())
    )


def way(name: str, how: dict[str, Any]) -> str:
    """Say how a level was pruned."""
    tuning = how["tuning"]
    return (
        f"- `{name}`: `{how['criterion']}`, {how['granularity']}s, {tuning['schedule']}, {tuning['epochs']} epochs of "
        f"fine-tuning at {tuning['rate']:g} of the run's rate, {tuning['distillation']:g} of the targets from the "
        f"dense posterior, random layers: {how['random']}, {'eight bits' if how['eight_bits'] else 'float32'}"
    )


def row(level: Level, dense: Level) -> str:
    """Render one level of the card's table."""
    metrics = level.metrics
    return (
        f"| {level.name} | {level.members} | {level.bytes:,} ({level.bytes / dense.bytes:.0%}) "
        f"| {level.multiply_adds:,} | {metrics.accuracy:.2%} | {metrics.nll:.4f} | {metrics.ece:.4f} "
        f"| {metrics.mutual_information:.3f} | {metrics.ood_auroc['cifar-100']:.3f} |"
    )


if __name__ == "__main__":
    typer.run(main)
