"""Measure the cost of a full answer in deterministic passes of the dense network.

    python -m benchmarks.inference.engine --store store --data-dir data --run RUN --json docs/results/engine.json

Adds to the variants of `slimbayes bench engine`: 32 flipout passes of the dense network in torch, one after the other,
as in the paper, and the same under bayesian-torch; OpenVINO and DeepSparse for one pass of each level's mean network.
Packages that are not installed are left out and named. Images are test images of the run's data set. All variants are
timed in one process on the same threads, in turn, one image at a time. The plot shows, for the default and the cheapest
level, the distance of an answer from that of 1,000 draws of the same level against its time.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer

from model_store.manifest import Calibration, Manifest
from model_store.storage.location import default_location
from model_store.store import Store
from pruning.trained_run import TrainedRun
from service.cli.bench import DENSE, Benchmark, Images, Row, Way, as_json, benchmark, levels_of
from service.inference.artifact import read_artifact
from service.inference.autotune import autotune
from service.inference.decision import decide
from service.inference.early_stopping import EarlyStopping
from service.inference.graph import with_constants
from service.inference.uncertainty import Draws, Predictive
from service.resources import usable_cores
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.settings import TOLERANCE
from service.types import Decision, Reason
from training.bayesian.bayesianize import bayesian_layers, bayesianize
from training.bayesian.estimators import flipout
from training.data.dataset import Pixels
from training.trainer.run_dir import Run

REFERENCE_DRAWS, AGREEMENT_DRAWS = 1000, 256
# One image in so many has a reference of 1,000 draws.
REFERENCE_EVERY = 5
NUM_DRAWS = (1, 2, 4, 8, 16, 32, 64)


def main(
    run: Annotated[Path, typer.Option(help="Folder of the run behind the store's model.")],
    store: Annotated[Path | None, typer.Option(help="Folder of a store; by default the zoo.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to time; optional if the store holds one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    draws: Annotated[int | None, typer.Option(help="Maximum draws of an answer; by default the level's.")] = None,
    tolerance: Annotated[float, typer.Option(help="Standard error at which sampling stops early.")] = TOLERANCE,
    rounds: Annotated[int, typer.Option(help="Rounds of five answers per variant.")] = 60,
    images: Annotated[int, typer.Option(help="Test images for the quality of answers.")] = 1000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds and images, more noise.")] = False,
) -> None:
    """Time every variant, measure the distance of adaptive answers from those of many draws, and print the table."""
    if quick:
        rounds, images = 4, 40
    opened = Store.open(store or Path(default_location()))
    name = model or opened.models()[0]
    manifest = opened.manifest(name, opened.resolve(name))
    subject = TrainedRun.load(Run(run), data_dir)
    test_NHWC = np.ascontiguousarray(subject.dataset.test.spread(images).pixels.numpy())
    threads = usable_cores()
    torch.set_num_threads(threads)
    entered = [replace(each, draws=draws or each.draws) for each in levels_of(opened, manifest)]
    with benchmark(manifest.training.architecture, entered, threads, tolerance) as made:
        missing = _others(made, opened, manifest, subject, threads, entered[0].draws)
        rows = list(made.rows(test_NHWC, rounds))
    cheapest = min(manifest.levels, key=lambda level: level.multiply_adds).name
    quality = [
        each
        for level in dict.fromkeys((manifest.default_level, cheapest))
        for each in _quality(opened, manifest, level, test_NHWC, tolerance, threads, draws)
    ]
    table = as_markdown(rows, quality, missing)
    print(table)
    if json_file is not None:
        document = {"model": name, "threads": threads, "images": len(test_NHWC), **as_json(rows), "quality": quality}
        json_file.write_text(json.dumps(document | {"not_installed": missing}, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(table + "\n")
        _plot(quality, json_file.with_suffix(".png"))


def _others(
    made: Benchmark, store: Store, manifest: Manifest, subject: TrainedRun, threads: int, draws: int
) -> list[str]:
    """Add the variants of other packages; return the names of those that are not installed."""
    made.ways[DENSE, "flipout in torch"] = _flipout(subject, draws)
    missing = []
    for package, ways in (("bayesian_torch", _bayesian_torch), ("openvino", _openvino), ("deepsparse", _deepsparse)):
        try:
            importlib.import_module(package)
        except ImportError:
            missing.append(package)
        else:
            made.ways |= ways(store, manifest, subject, threads, draws)
    return missing


def torch_way(network: torch.nn.Module, pixels: Pixels, draws: int) -> Way:
    """Return a variant that passes an image `draws` times through a network that draws its own weights."""
    network.eval()
    normalise = pixels.normalise

    def run(image_1HWC: Images) -> int:
        with torch.inference_mode():
            x_NCHW = normalise(torch.from_numpy(image_1HWC))
            torch.stack([network(x_NCHW) for _ in range(draws)])
        return draws

    return run


def _flipout(subject: TrainedRun, draws: int) -> Way:
    network = bayesianize(subject.architecture, flipout.draw, prior_scale=subject.recipe.prior_scale)
    posterior = subject.posterior
    network.load_state_dict(dict(posterior.rest), strict=False)
    for path, layer in bayesian_layers(network).items():
        layer.restore(posterior.weights[f"{path}.weight"])
    return torch_way(network, subject.dataset.pixels, draws)


def _bayesian_torch(
    store: Store, manifest: Manifest, subject: TrainedRun, threads: int, draws: int
) -> dict[tuple[str, str], Way]:
    from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn  # type: ignore[import-not-found]

    network = subject.architecture
    network.load_state_dict(subject.posterior.mean(), strict=False)
    dnn_to_bnn(
        network,
        {
            "prior_mu": 0.0,
            "prior_sigma": subject.recipe.prior_scale,
            "posterior_mu_init": 0.0,
            "posterior_rho_init": -4.0,
            "type": "Flipout",
            "moped_enable": True,
            "moped_delta": 0.1,
        },
    )
    return {(DENSE, "bayesian-torch"): torch_way(network, subject.dataset.pixels, draws)}


def _means(store: Store, manifest: Manifest) -> dict[str, onnx.ModelProto]:
    graphs = {}
    for level in manifest.levels:
        artifact = read_artifact(store.read_level(manifest, level.name))
        means = {weight.name: weight.mean for weight in artifact.weights}
        graphs[level.name] = with_constants(artifact.graph, means)
    return graphs


def _openvino(
    store: Store, manifest: Manifest, subject: TrainedRun, threads: int, draws: int
) -> dict[tuple[str, str], Way]:
    import openvino  # type: ignore[import-not-found]

    core, ways = openvino.Core(), dict[tuple[str, str], Way]()
    for name, graph in _means(store, manifest).items():
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(graph.SerializeToString()), "CPU", settings)

        def run(image_1HWC: Images, compiled: Any = compiled) -> int:
            compiled(image_1HWC)
            return 1

        ways[name, "one pass in OpenVINO"] = run
    return ways


def _deepsparse(
    store: Store, manifest: Manifest, subject: TrainedRun, threads: int, draws: int
) -> dict[tuple[str, str], Way]:
    from deepsparse import compile_model  # type: ignore[import-not-found]

    ways: dict[tuple[str, str], Way] = {}
    for name, graph in _means(store, manifest).items():
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            onnx.save(graph, file.name)
            compiled = compile_model(file.name, batch_size=1, num_cores=threads)

        def run(image_1HWC: Images, compiled: Any = compiled) -> int:
            compiled.run([image_1HWC])
            return 1

        ways[name, "one pass in DeepSparse"] = run
    return ways


def _quality(
    store: Store,
    manifest: Manifest,
    name: str,
    test_NHWC: Images,
    tolerance: float,
    threads: int,
    draws: int | None,
) -> list[dict[str, Any]]:
    """Measure one level's distance from 1,000 draws, and its agreement with the decisions of 256 draws."""
    level = manifest.level(name)
    assert level is not None
    calibration = level.calibration
    with ThreadPoolExecutor(threads) as builders:
        artifact = read_artifact(store.read_level(manifest, name), level.roundings)
        engine = autotune(artifact, artifact.draw_key, builders, threads)
        engine.prepare(REFERENCE_DRAWS)
        parts = np.array_split(test_NHWC, 40)

        def drawn(parts: list[Images], samples: int) -> Predictive:
            logits = builders.map(lambda part: engine.draws(part, samples), parts)
            draws = Draws.from_logits(np.concatenate([*logits], 1), calibration.temperature)
            return Predictive.from_draws(draws)

        many = _decisions(drawn(parts, AGREEMENT_DRAWS), calibration)
        reference_MK = drawn(parts[: len(parts) // REFERENCE_EVERY], REFERENCE_DRAWS).mean
        rule = EarlyStopping.from_calibration(calibration, tolerance)
        scheduler = Scheduler(threads)
        found = []
        for samples, stopping in [*((s, None) for s in NUM_DRAWS), (draws or level.monte_carlo.draws, rule)]:
            used, seconds, summaries = [], [], []
            for image_HWC in test_NHWC:
                job = Job(engine, image_HWC[None], samples, lambda logits, *_: [logits], stopping)
                begun = perf_counter()
                scheduler.submit(job)
                (logits_S1K,) = job.future.result()
                draws_S1K = Draws.from_logits(logits_S1K, calibration.temperature)
                summaries.append(Predictive.from_draws(draws_S1K))
                seconds.append(perf_counter() - begun)
                used.append(len(logits_S1K))
            mean_NK = np.concatenate([each.mean for each in summaries])
            same = [_decisions(each, calibration) == [other] for each, other in zip(summaries, many, strict=True)]
            found.append(
                {
                    "level": name,
                    "way": "adaptive" if stopping else "fixed",
                    "samples": samples,
                    "mean_draws": float(np.mean(used)),
                    "ms": 1000 * median(seconds),
                    "distance": float(np.abs(mean_NK[: len(reference_MK)] - reference_MK).sum(1).mean() / 2),
                    "agreement": float(np.mean(same)),
                }
            )
        scheduler.close()
    return found


def _decisions(summary: Predictive, calibration: Calibration) -> list[tuple[int, Decision, Reason | None]]:
    """Return each image's class, decision and reason for abstention."""
    classes = summary.mean.argmax(1).tolist()
    return [(k, *each[:2]) for k, each in zip(classes, decide(summary, calibration), strict=True)]


def as_markdown(rows: list[Row], quality: list[dict[str, Any]], missing: list[str]) -> str:
    """Format both tables as Markdown."""
    lines = ["| level | way | draws | ms | dense passes |", "|---|---|--:|--:|--:|"]
    lines += [f"| {r.level} | {r.way} | {r.draws:.1f} | {r.ms:.3f} | {r.ratio_to_dense_pass:.2f} |" for r in rows]
    if missing:
        lines += ["", f"Not installed, so not timed: {', '.join(missing)}."]
    lines += [
        "",
        "| level | way | draws | ms | distance from 1,000 draws | decides as 256 draws |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for q in quality:
        numbers = f"{q['mean_draws']:.1f} | {q['ms']:.3f} | {q['distance']:.4f} | {q['agreement']:.2%}"
        lines.append(f"| {q['level']} | {q['way']} | {numbers} |")
    return "\n".join(lines)


def _plot(quality: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="milliseconds", ylabel="distance from 1,000 draws")
    for number, level in enumerate(dict.fromkeys(each["level"] for each in quality)):
        own = [each for each in quality if each["level"] == level]
        fixed, adaptive = ([each for each in own if each["way"] == way] for way in ("fixed", "adaptive"))
        colour = f"C{number}"
        axes.plot([q["ms"] for q in fixed], [q["distance"] for q in fixed], "o-", color=colour, label=level)
        axes.plot([q["ms"] for q in adaptive], [q["distance"] for q in adaptive], "*", color=colour, markersize=14)
    axes.legend(title="fixed draws; star: adaptive")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    typer.run(main)
