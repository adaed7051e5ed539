"""A level is evaluated and calibrated with the draws that the service makes of its file, and with no others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from model_store.onnx_file.draws import FIRST_DRAWS, first_draws
from model_store.store import Store
from pruning.granularity.narrowing import narrow_module
from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import mixture_logits, served_draws
from pruning.graph.network import Network
from pruning.graph.onnx_export import export_onnx, roundings, to_bytes
from pruning.graph.quantization import quantize_network
from service.inference.artifact import Artifact, read_artifact
from service.inference.bank import Bank
from service.inference.decision import Postprocessor
from service.inference.early_stopping import checkpoints
from service.inference.engine import Engine
from service.repository.level_stats import LevelStats
from tests.support.same_draw import network_of, random_images, random_pixels, traced, without
from training.data import load_dataset
from training.progress import Stage

NUM_DRAWS = 6


def level(architecture: str, sparsity: float) -> Network:
    """A compacted level with random weights, some of them pruned."""
    plain, posterior = network_of(architecture, 3, seed=2)
    network = traced(plain, posterior, random_pixels(3, 16))
    return fold_and_compact(traced(plain, without(network, posterior, "weight", sparsity), random_pixels(3, 16)))


def served(*members: Network) -> Artifact:
    """The level as the service reads it."""
    return read_artifact(to_bytes(export_onnx(*members)), roundings(*members))


@pytest.fixture(scope="module")
def members() -> list[Network]:
    """Networks of four widths."""
    pixels, made = random_pixels(3, 16), []
    for seed, sparsity in enumerate((0.0, 0.3, 0.6, 0.8)):
        plain, posterior = network_of("convnet", 3, seed=seed)
        left = without(traced(plain, posterior, pixels), posterior, "channel", sparsity)
        made.append(fold_and_compact(traced(narrow_module(plain, left), left, pixels)))
    assert len({network.multiply_adds for network in made}) == 4
    return made


@pytest.mark.parametrize("sparsity", [0.0, 0.8])
@pytest.mark.parametrize("architecture", ["convnet", "resnet20"])
def test_weights_are_the_same_bits(architecture: str, sparsity: float) -> None:
    """Dense or sparse in the file, each draw of each weight."""
    network = level(architecture, sparsity)
    artifact = served(network)
    bank = Bank(artifact, artifact.draw_key)
    (draws,) = served_draws([network], NUM_DRAWS)
    for number, ours in enumerate(draws):
        theirs = bank.weights(number)
        assert theirs.keys() <= {f"{name}.weight" for name in ours}
        for name, values in theirs.items():
            np.testing.assert_array_equal(values, ours[name.removesuffix(".weight")].numpy())


@pytest.mark.parametrize("eight_bits", [False, True])
def test_logits_are_those_of_the_engine(eight_bits: bool) -> None:
    """Those that calibration sees and those that answers are made of; in eight bits up to single roundings."""
    network, images = level("convnet", 0.5), random_images(random_pixels(3, 16), 40, 0)
    if eight_bits:
        network = quantize_network(network, images, 4, torch.Generator().manual_seed(0))
    with Stage("served", NUM_DRAWS * len(images), quiet=True) as stage:
        ours_SNK = mixture_logits([network], images, served_draws([network], NUM_DRAWS), stage).numpy()
    artifact = served(network)
    with ThreadPoolExecutor(1) as builders:
        theirs_SNK = Engine(Bank(artifact, artifact.draw_key, 2), builders).draws(images.numpy(), NUM_DRAWS)
    spread = float((ours_SNK - ours_SNK.mean(0)).std())
    difference = np.abs(ours_SNK - theirs_SNK)
    assert difference.mean() < (0.05 if eight_bits else 1e-4) * spread
    assert np.abs(ours_SNK[0] - theirs_SNK[1]).mean() > spread / 2  # another draw is another network


def test_the_reference_of_drift_is_of_the_draws_that_every_answer_has() -> None:
    """Few draws have a lower mutual information than many, which would count as drift."""
    assert checkpoints(1)[0] == FIRST_DRAWS
    assert all(checkpoints(members)[0] == first_draws(members) for members in range(1, 17))


@pytest.mark.parametrize("eight_bits", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_mixtures_are_evaluated_with_the_draws_of_the_engine(
    members: list[Network], count: int, eight_bits: bool
) -> None:
    """Draw by draw, whatever the widths of the members, and however many draws the last round has.

    In eight bits up to single roundings, each member with those of its own tensors.
    """
    some, images, draws = members[:count], random_images(random_pixels(3, 16), 8, 0), 4 * count + 1
    if eight_bits:
        some = [quantize_network(each, images, 4, torch.Generator().manual_seed(0)) for each in some]
    with Stage("served", draws * len(images), quiet=True) as stage:
        ours_SNK = mixture_logits(some, images, served_draws(some, draws), stage).numpy()
    artifact = served(*some)
    with ThreadPoolExecutor(1) as builders:
        theirs_SNK = Engine(Bank(artifact, artifact.draw_key), builders).draws(images.numpy(), draws)
    if eight_bits:
        assert roundings(*some)
        spread = float((ours_SNK - ours_SNK.mean(0)).std())
        assert np.abs(ours_SNK - theirs_SNK).mean((1, 2)).max() < 0.05 * spread
    else:
        np.testing.assert_allclose(ours_SNK, theirs_SNK, rtol=1e-4, atol=1e-4 * float(np.abs(ours_SNK).max()))
    for one in range(draws):
        for other in range(one):
            assert np.abs(theirs_SNK[one] - theirs_SNK[other]).max() > 1e-3


def test_test_images_have_no_drift(digits_store: Path) -> None:
    """With the number of draws of each image as it comes, by early stopping or on request."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    images_NHWC = load_dataset("digits", None, seed=0).test.pixels.numpy()
    for described in manifest.levels:
        artifact = read_artifact(store.read_level(manifest, described.name), described.roundings)
        with ThreadPoolExecutor(1) as builders:
            logits_SNK = Engine(Bank(artifact, artifact.draw_key), builders).draws(images_NHWC, 32)
        postprocess = Postprocessor(described.calibration, lambda summary: [None] * len(summary.mean))
        for num_draws in (checkpoints(1)[0], 5, 32):
            stats = LevelStats(manifest, described)
            stats.record(postprocess(logits_SNK[:num_draws], "samples"))
            assert all((window.index() or 0) < 1e-3 for window in stats.drift.windows().values())
