"""Build the zoo, the store that is installed with the package: levels of finished studies, and a model card.

    python -m tools.build_zoo docs/results/runs/cifar10-resnet20-ivon STUDY [STUDY …] --data-dir data

The run is the one in docs/results; the studies' commands are in docs/results/README.md. Every level but the dense one
has the random layers of its study, and is computed in eight bits.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from model_store.manifest import Level, Manifest
from model_store.storage.location import ZOO
from model_store.store import Store

MODEL = "cifar10-resnet20"
LEVELS = "weight/p80,weight/p90,weight/p95,channel/x4"


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies of it.")],
    data_dir: Annotated[Path, typer.Option(help="Folder of CIFAR-10.")] = Path("data"),
    levels: Annotated[str, typer.Option(help="Levels, as `slimbayes prune --from-study` takes them.")] = LEVELS,
) -> None:
    """Publish the levels in place of the existing ones, and write the model card."""
    shutil.rmtree(ZOO / MODEL, ignore_errors=True)
    flags = [
        "--levels",
        levels,
        "--eight-bits",
        "all",
        "--store",
        str(ZOO),
        "--model",
        MODEL,
    ]
    chosen = [part for study in studies for part in ("--from-study", str(study))]
    command = [sys.executable, "-m", "pruning", str(run), *flags, *chosen, "--data-dir", str(data_dir)]
    if subprocess.run(command, check=False).returncode != 0:
        raise typer.Exit(1)
    store = Store.open(ZOO)
    manifest = store.manifest(MODEL, store.resolve(MODEL))
    (ZOO / MODEL / "README.md").write_text(card(manifest))


def card(manifest: Manifest) -> str:
    """Render the model card in Markdown."""
    dense, training = manifest.levels[0], manifest.training
    pruned = manifest.level(manifest.default_level)
    assert pruned is not None
    rows = "\n".join(row(level, dense) for level in manifest.levels)
    pruning = training.hyperparameters["pruning"]
    ways = "\n".join(
        f"- `{name}`: `{how['criterion']}`, {how['granularity']}s, {how['tuning']['schedule']}, "
        f"{how['tuning']['epochs']} epochs of fine-tuning at {how['tuning']['rate']:g} of the run's rate, "
        f"{how['tuning']['distillation']:g} of the targets from the dense posterior, "
        f"random layers: {how['random']}, {'eight bits' if how['eight_bits'] else 'float32'}"
        for name, how in pruning.items()
    )
    return f"""# {manifest.model} {manifest.version}

A Bayesian resnet20 that classifies photographs of 32x32 pixels into ten classes, at several pruning levels:
{", ".join(manifest.classes)}. `slimbayes serve --store zoo` serves it, for trying and for
comparison. It is no model for a product: it takes every image for one of its ten classes, or abstains.

| level | bytes | multiply-adds | accuracy | NLL | ECE | AUROC, CIFAR-100 | bytes, of dense |
|---|--:|--:|--:|--:|--:|--:|--:|
{rows}

On the 10,000 test images of CIFAR-10 with {dense.monte_carlo.draws} draws, after temperature scaling on 5,000 held-out
training images, which also gave the conformal quantiles and the thresholds. AUROC is that of separating test images
from 2,000 images of CIFAR-100. The default level is `{manifest.default_level}`.

The pruned levels are computed in eight bits. Where only their last layers are random, their epistemic uncertainty
is that of these layers alone: {pruned.metrics.mutual_information:.3f} nats on average at
`{manifest.default_level}`, and {dense.metrics.mutual_information:.3f} at `dense`, which is random throughout.

## Where it comes from

Trained by `slimbayes train --data cifar10 --epochs {training.epochs}` (estimator `{training.estimator}`, seed
{training.seed}, {training.world_size} process, {training.hyperparameters["precision"]}), the run
`docs/results/runs/cifar10-resnet20-ivon` of the source, pruned by `slimbayes study`, and
selected by `tools/build_zoo.py`:

{ways}

## Data and licence

CIFAR-10: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; 104 of its images (81 of the
training set, 23 of the test set) were decoded from JPEG. The data set has no formal licence; none of its images are
included. The weights are licensed as the code is, under Apache-2.0.

## Limits

It was trained on small, centred photographs; drawings, text, faces and anything else are out of distribution. It
separates noise and blank images from photographs nearly always, and other classes of photographs (CIFAR-100) as the
AUROC above shows. Prediction sets have their coverage only on images like those of the calibration set.
"""


def row(level: Level, dense: Level) -> str:
    """Render one level of the card's table."""
    metrics = level.metrics
    return (
        f"| {level.name} | {level.bytes:,} | {level.multiply_adds:,} | {metrics.accuracy:.2%} | {metrics.nll:.4f} "
        f"| {metrics.ece:.4f} | {metrics.ood_auroc['cifar-100']:.3f} | {level.bytes / dense.bytes:.2f} |"
    )


if __name__ == "__main__":
    typer.run(main)
