"""One pass of means and variances instead of draws: how near it comes to 1,000 draws, and what it costs.

    python -m benchmarks.moments RUN --data-dir data --json docs/results/moments.json

Each tensor is taken for independent Gaussians, as in probabilistic backpropagation and assumed density filtering
(Hernández-Lobato and Adams 2015; Gast and Roth 2018): a layer's output has mean μ∗m and variance μ²∗v + σ²∗(m² + v), a
rectifier's moments are known in closed form. What that leaves out is that one draw of a filter meets every pixel: the
pixels of a channel move together. At the pool before the head the two extremes are both tried, pixels that are
independent and pixels that are one. The distance is that of total variation, decisions are those of the service, and
each is set beside few draws that cost as much.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import singledispatch
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from model_store.onnx_file.format import IMAGES
from pruning.graph.compaction import compacted
from pruning.graph.network import (
    Add,
    Convolution,
    Flatten,
    GlobalAveragePool,
    Linear,
    Network,
    Node,
    Normalisation,
    Relu,
    sources,
)
from pruning.graph.onnx_export import export_onnx, to_bytes
from pruning.trained_run import TrainedRun
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.engine import Engine
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.randomness import generator_for
from training.trainer.run_dir import Run

Moments = tuple[Tensor, Tensor]
MANY, FEW = 1000, (2, 4, 8)


@singledispatch
def moments(node: Node, *inputs: Moments, together: bool) -> Moments:
    """Mean and variance of a node's output; `together` is whether the pixels of a channel are one."""
    raise typer.BadParameter(f"no moments of {type(node).__name__}")


@moments.register
def _(node: Convolution, source: Moments, *, together: bool) -> Moments:
    (m, v), weight, stride, padding = source, node.weight, node.stride, node.padding
    mean = F.conv2d(m, weight.mean, node.bias, stride, padding)
    spread = F.conv2d(m**2 + v, weight.scale**2, None, stride, padding)
    return mean, F.conv2d(v, weight.mean**2, None, stride, padding) + spread


@moments.register
def _(node: Linear, source: Moments, *, together: bool) -> Moments:
    (m, v), weight = source, node.weight
    spread = F.linear(m**2 + v, weight.scale**2)
    return F.linear(m, weight.mean, node.bias), F.linear(v, weight.mean**2) + spread


@moments.register
def _(node: Normalisation, source: Moments, *, together: bool) -> Moments:
    factor, shift = node.factor[:, None, None], node.shift[:, None, None]
    return source[0] * factor + shift, source[1] * factor**2


@moments.register
def _(node: Relu, source: Moments, *, together: bool) -> Moments:
    m, v = source
    s = v.clamp(min=1e-12).sqrt()
    z = m / s
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    mean = m * below + s * density
    square = (m**2 + v) * below + m * s * density
    return mean, (square - mean**2).clamp(min=0)


@moments.register
def _(node: Add, source: Moments, other: Moments, *, together: bool) -> Moments:
    return source[0] + other[0], source[1] + other[1]


@moments.register
def _(node: GlobalAveragePool, source: Moments, *, together: bool) -> Moments:
    m, v = source
    mean, variance = m.mean((2, 3), keepdim=True), v.mean((2, 3), keepdim=True)
    return mean, variance if together else variance / (m.shape[2] * m.shape[3])


@moments.register
def _(node: Flatten, source: Moments, *, together: bool) -> Moments:
    return source[0].flatten(1), source[1].flatten(1)


@torch.inference_mode()
def propagate(network: Network, images_NHWC: Tensor, *, together: bool) -> Moments:
    """Mean and variance of the logits, each [N, K]."""
    x = network.pixels.normalise(images_NHWC).contiguous()
    known = {IMAGES: (x, torch.zeros_like(x))}
    for node in network.nodes:
        known[node.name] = moments(node, *(known[name] for name in sources(node)), together=together)
    return known[network.output]


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    posterior: Annotated[Path | None, typer.Option(help="A pruned posterior of that run instead of its own.")] = None,
    images: Annotated[int, typer.Option(help="Test images.")] = 500,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Compare moments with draws."""
    subject = TrainedRun.of(Run(run), data_dir)
    network = compacted(subject.trace(Posterior.load(posterior) if posterior else subject.posterior))
    rows = compare(network, subject.dataset, images)
    lines = ["| way | passes | distance from 1,000 draws | decides alike | mutual information | ms an image |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {r['way']} | {r['passes']} | {r['distance']:.4f} | {r['agreement']:.1%} | {r['mutual_information']:.4f} "
        f"| {r['ms']:.2f} |"
        for r in rows
    ]
    print("\n".join(lines))
    if json_file is not None:
        json_file.write_text(json.dumps({"images": images, "rows": rows}, indent=2) + "\n")
        json_file.with_suffix(".md").write_text("\n".join(lines) + "\n")


def compare(network: Network, dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """One row a way; draws are the engine's, antithetic in pairs, and those of the reference are others."""
    pixels_NHWC = dataset.test.spread(count).pixels
    artifact = read_artifact(to_bytes(export_onnx(network)))
    parts = [part.numpy() for part in pixels_NHWC.split(25)]

    def draw(key: str, draws: int) -> tuple[Tensor, float]:
        engine = Engine(Bank(artifact, key, 2), builders)
        engine.prepare(draws)
        begun = perf_counter()
        logits_SNK = np.concatenate([engine.draws(part, draws) for part in parts], 1)
        return torch.from_numpy(logits_SNK), perf_counter() - begun

    with ThreadPoolExecutor(1) as builders:
        reference_SNK, _ = draw("ab" * 16, MANY)
        p_NK = metrics.predictive(reference_SNK)
        threshold = float(metrics.entropy(p_NK).quantile(0.85))

        def row(way: str, passes: int, logits_SNK: Tensor, seconds: float) -> dict[str, Any]:
            q_NK = metrics.predictive(logits_SNK)
            same = q_NK.argmax(1) == p_NK.argmax(1)
            same &= (metrics.entropy(q_NK) > threshold) == (metrics.entropy(p_NK) > threshold)
            return {
                "way": way,
                "passes": passes,
                "distance": float((q_NK - p_NK).abs().sum(1).mean() / 2),
                "agreement": float(same.double().mean()),
                "mutual_information": float(metrics.mutual_information(logits_SNK).mean()),
                "ms": 1000 * seconds / len(pixels_NHWC),
            }

        rows = [row(f"{few} draws", few, *draw("cd" * 16, few)) for few in FEW]
    rows.append(row("1,000 draws", MANY, reference_SNK, math.nan))
    for together in (False, True):
        begun = perf_counter()
        found = [propagate(network, part, together=together) for part in pixels_NHWC.split(25)]
        seconds = perf_counter() - begun
        mean_NK, variance_NK = (torch.cat(each) for each in zip(*found, strict=True))
        noise_SNK = torch.randn((MANY, *mean_NK.shape), generator=generator_for(0, "logits"))
        way = "moments, pixels as one" if together else "moments, pixels apart"
        rows.append(row(way, 3, mean_NK + variance_NK.sqrt() * noise_SNK, seconds))
    return rows


if __name__ == "__main__":
    typer.run(main)
