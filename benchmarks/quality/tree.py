"""Measure what is left of a mixture's gain where its members share a deterministic prefix, and what that saves.

    python -m benchmarks.quality.tree --data-dir data --runs runs/peers --json docs/results/tree.json

Members of a tree share the first blocks of one plain network, frozen, and train what follows from initialisations of
their own. Independent members are whole plain networks. Both are without scales, as nearly all of a mixture's gain is
between its members. Takes the plain networks of `benchmarks.quality.peers`, and trains the branches that are missing.
NLL is at a temperature fitted on the calibration images, on the 10,000 test images of CIFAR-10.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import torch
import typer
from torch import Tensor, nn

from benchmarks.harness.machine import machine
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.distributed.world import World
from training.evaluation import metrics
from training.evaluation.prediction import batches
from training.evaluation.temperature import fit_temperature
from training.trainer.initialization import fresh_network
from training.trainer.loop import LoopOptions, TrainState, fit
from training.trainer.members import member_run
from training.trainer.train import approximation

mpl.use("Agg")
from matplotlib import pyplot as plt

MEMBERS, EPOCHS = 4, 20
# Modules before the first block, and the numbers of blocks of nine that members share.
STEM, SHARED_BLOCKS = 3, (3, 6)


class Frozen(nn.Module):
    """Layers that training leaves as they are, batch statistics included."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation."""
        return super().train(False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Apply the layers."""
        features_NCHW: Tensor = self.layers(x_NCHW)
        return features_NCHW


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder with CIFAR-10.")],
    runs: Annotated[Path, typer.Option(help="Folder of the peers' runs.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile networks in training; needs a compiler.")
    ] = False,
    epochs: Annotated[int, typer.Option(help="Epochs of each branch.")] = EPOCHS,
) -> None:
    """Train the branches, and print the table."""
    trunk = TrainedRun.load(member_run(runs / "plain", 0), data_dir)
    whole = [TrainedRun.load(member_run(runs / "plain", member), data_dir, trunk.dataset) for member in range(MEMBERS)]
    rows = [row(0, [logits(trunk, run.architecture, run.posterior) for run in whole], trunk)]
    for blocks in SHARED_BLOCKS:
        branches = []
        for member in range(MEMBERS):
            file = runs / f"branch-{blocks}-{member}-{epochs}.safetensors"
            branches.append(branch(trunk, blocks, member, epochs, LoopOptions(compile=compiled), file))
        rows.append(row(blocks, branches, trunk))
    table = as_table(rows)
    print(table)
    if json_file is not None:
        report = {"dataset": "cifar10", "architecture": "resnet20", "epochs": epochs, **machine(), "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(f"{table}\n\n{report['text']}\n")
        plot(rows, json_file.with_suffix(".png"))


def branch(
    trunk: TrainedRun, blocks: int, member: int, epochs: int, options: LoopOptions, file: Path
) -> dict[str, Tensor]:
    """Train one member's branch behind the trunk's first blocks, or read it; return its logits of all sets."""
    network = split(trunk, blocks, member)
    if not file.exists():
        alone = World(0, 1, torch.device("cpu"))
        recipe = replace(
            trunk.recipe, epochs=epochs, seed=trunk.recipe.seed + member, split_seed=trunk.recipe.data_seed
        )
        state = TrainState(approximation(recipe, trunk.dataset, alone, network))
        fit(state, trunk.dataset, recipe, alone, name=f"training branch {member}", options=options)
        state.approximation.posterior().save(file)
    return logits(trunk, network, Posterior.load(file))


def split(trunk: TrainedRun, blocks: int, member: int) -> nn.Module:
    """Return the trunk's first blocks, frozen, and fresh layers behind them, by the member's seed."""
    first, rest = trunk.architecture, fresh_network(replace(trunk.recipe, seed=100 + member), trunk.dataset)
    first.load_state_dict(trunk.posterior.mean())
    assert isinstance(first, nn.Sequential)
    assert isinstance(rest, nn.Sequential)
    return nn.Sequential(Frozen(first[: STEM + blocks]), *list(rest.children())[STEM + blocks :])


@torch.no_grad()
def logits(trunk: TrainedRun, network: nn.Module, trained: Posterior) -> dict[str, Tensor]:
    """Return logits [N, K] of the calibration and the test images."""
    network.eval()
    network.load_state_dict(trained.mean())
    dataset = trunk.dataset
    sets = {"calibration": dataset.calibration.pixels, "test": dataset.test.pixels}
    return {
        name: torch.cat([network(dataset.pixels.normalise(x)) for x in batches(images_NHWC)])
        for name, images_NHWC in sets.items()
    }


def row(blocks: int, members: list[dict[str, Tensor]], trunk: TrainedRun) -> dict[str, Any]:
    """Return the figures of mixtures of one, two and four members that share so many blocks."""
    network, dataset = trunk.network(trunk.posterior), trunk.dataset
    shared = shared_cost(trunk, blocks) / network.multiply_adds
    found: dict[str, Any] = {"shared_blocks": blocks, "shared_cost": shared, "mixtures": []}
    for count in (1, 2, 4):
        held_SNK, test_SNK = (torch.stack([each[name] for each in members[:count]]) for name in ("calibration", "test"))
        p_NK = metrics.predictive(test_SNK, fit_temperature(held_SNK, dataset.calibration.labels))
        labels_N = dataset.test.labels
        found["mixtures"].append(
            {
                "members": count,
                "passes": shared + count * (1 - shared),
                "accuracy": metrics.accuracy(p_NK, labels_N),
                "nll": metrics.nll(p_NK, labels_N),
                "ece": metrics.ece(p_NK, labels_N),
            }
        )
    return found


def shared_cost(trunk: TrainedRun, blocks: int) -> int:
    """Return the multiply-adds of the stem and the first blocks."""
    if not blocks:
        return 0
    names = [name for name, _ in trunk.architecture.named_modules()]
    first = names.index(str(STEM + blocks))
    weighted = trunk.network(trunk.posterior).weighted
    return sum(node.weight.mean.numel() * node.positions for name, node in weighted.items() if name in names[:first])


def as_table(rows: list[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = ["| shared blocks of 9 | members | dense passes | accuracy | NLL | ECE | NLL below one member |"]
    lines.append("|--:" * 7 + "|")
    for row in rows:
        alone = row["mixtures"][0]["nll"]
        lines += [
            f"| {row['shared_blocks']} | {each['members']} | {each['passes']:.2f} | {each['accuracy']:.2%} "
            f"| {each['nll']:.4f} | {each['ece']:.4f} | {alone - each['nll']:.4f} |"
            for each in row["mixtures"]
        ]
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot NLL over cost."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for row in rows:
        mixtures = row["mixtures"]
        label = f"{row['shared_blocks']} of 9 blocks shared" if row["shared_blocks"] else "independent members"
        axis.plot([each["passes"] for each in mixtures], [each["nll"] for each in mixtures], marker="o", label=label)
    axis.set_xlabel("cost of an answer, dense passes")
    axis.set_title("NLL of mixtures of one, two and four members, nats", loc="left", fontsize=10)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
