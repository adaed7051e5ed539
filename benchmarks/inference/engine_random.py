"""Time answers on networks with random weights, for architectures without a trained run.

    python -m benchmarks.inference.engine_random --arch resnet18 --json docs/results/engine-resnet18.json

The posterior is drawn at random and pruned by channels, layer by layer. Each level is timed as it is, and with all but
the last one or two weights deterministic, so that the layers before them are computed once for all draws. Adaptive
draws are left out, since draws of random networks never agree. `--eight-bits` quantises the levels, never the dense
network. Flipout passes of the dense network in torch, as in the paper, are timed beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.inference.engine import torch_way
from model_store.manifest import Calibration
from pruning.cost.budget import Budget
from pruning.cost.latency import Timings
from pruning.criteria import criterion
from pruning.granularity import granularity
from pruning.graph.compaction import fold_and_compact
from pruning.graph.network import Network, random_tensors, without_scales
from pruning.graph.onnx_export import export_onnx, roundings, to_bytes
from pruning.graph.quantization import quantize_network
from pruning.graph.trace import GraphTemplate
from pruning.level import DENSE, parse_levels
from service.cli.bench import BenchLevel, Way, as_json, benchmark
from service.resources import usable_cores
from training.architectures import architecture
from training.bayesian.bayesianize import bayesianize, plain_parts
from training.bayesian.estimators import flipout
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels

CLASSES, SIDE = 10, 32
RANDOM_LAYERS = (1, 2)
PIXELS = Pixels(SIDE, SIDE, 3, (0.5,) * 3, (0.25,) * 3)
CALIBRATION = Calibration(temperature=1.0, conformal_quantiles={}, abstain_above=1.0)


def main(
    arch: Annotated[str, typer.Option(help="Architecture.")] = "resnet18",
    levels: Annotated[str, typer.Option(help="Levels of channel granularity.")] = "x4,x10",
    draws: Annotated[int, typer.Option(help="Draws of an answer.")] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds of five answers per variant.")] = 10,
    eight_bits: Annotated[
        bool, typer.Option("--eight-bits", help="Quantise the levels' convolutions to eight bits.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Time every variant, beside its multiply-adds as a share of the dense network's."""
    networks = pruned(arch, levels)
    if eight_bits:
        networks = {name: each if name == "dense" else in_eight_bits(each) for name, each in networks.items()}
    work = {name: (network.multiply_adds - shared(network), shared(network)) for name, network in networks.items()}
    entered = [
        BenchLevel(name, to_bytes(export_onnx(network)), draws, tuple("0123456789"), CALIBRATION, roundings(network))
        for name, network in networks.items()
    ]
    shape = (64, SIDE, SIDE, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    threads = usable_cores()
    with benchmark(arch, entered, threads, tolerance=1.0) as made:
        for name in networks:
            del made.ways[name, "ours, adaptive"]
        made.ways["dense", "flipout in torch"] = flipout_way(arch, draws, threads)
        rows = list(made.rows(images, rounds))
    table = ["| level | way | draws | ms | dense passes | arithmetic |", "|---|---|--:|--:|--:|--:|"]
    for row in rows:
        each, once = work[row.level]
        arithmetic = (row.draws * each + once) / networks["dense"].multiply_adds
        numbers = f"{row.ms:.2f} | {row.ratio_to_dense_pass:.2f} | {arithmetic:.2f}"
        table.append(f"| {row.level} | {row.way} | {row.draws:.0f} | {numbers} |")
    print("\n".join(table))
    if json_file is not None:
        document: dict[str, Any] = {
            "weights": "random",
            "eight_bits": eight_bits,
            "threads": threads,
            "multiply_adds_each_and_once": work,
        } | as_json(rows)
        json_file.write_text(json.dumps(document, indent=2) + "\n")
        json_file.with_suffix(".md").write_text("\n".join(table) + "\n")


def flipout_way(arch: str, draws: int, threads: int) -> Way:
    """Return a variant of sequential flipout passes of the dense network."""
    torch.set_num_threads(threads)
    network = bayesianize(architecture(arch, 3, CLASSES), flipout.draw, prior_scale=1.0)
    return torch_way(network, PIXELS, draws)


def shared(network: Network) -> int:
    """Count the multiply-adds that all draws share."""
    random = random_tensors(network)
    return sum(n.positions * n.weight.mean.numel() for name, n in network.weighted.items() if name not in random)


def in_eight_bits(network: Network) -> Network:
    """Quantise the network with activation ranges measured on noise."""
    noise = np.random.default_rng(1).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
    return quantize_network(network, torch.from_numpy(noise), 2, torch.Generator().manual_seed(0))


def pruned(arch: str, levels: str) -> dict[str, Network]:
    """Return the dense network and its levels, each level also with only the last layers random."""
    torch.manual_seed(0)
    plain = architecture(arch, 3, CLASSES).eval()
    weights, _ = plain_parts(plain)
    posterior = Posterior(
        {name: GaussianWeight(w.detach().clone(), torch.full_like(w.detach(), 0.01)) for name, w in weights.items()},
        {name: value.clone() for name, value in plain.state_dict().items() if name not in weights},
    )
    template = GraphTemplate.trace(plain, PIXELS)
    dense = template.bind(posterior)
    scores = criterion("snr").scores(posterior, 1.0, torch.Generator())
    networks, timings = {"dense": fold_and_compact(dense)}, Timings()
    for level in parse_levels(levels):
        if level == DENSE:
            continue
        budget = Budget.for_level(level, sum(w.mean.numel() for w in posterior.weights.values()), dense.multiply_adds)
        left = granularity("channel")(dense, posterior, scores, budget, "layer", timings).apply(posterior)
        network = fold_and_compact(template.bind(left))
        networks[level.name] = network
        for count in RANDOM_LAYERS:
            fixed = list(network.weighted)[:-count]
            networks[f"{level.name}, last {count} random"] = without_scales(network, fixed)
    return networks


if __name__ == "__main__":
    typer.run(main)
