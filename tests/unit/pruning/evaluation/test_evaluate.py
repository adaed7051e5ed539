"""What is measured of a level, against known answers and against what its draws say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pruning.evaluation.evaluate import Evaluation, evaluate
from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import forward, mean_weights, served_draws
from pruning.graph.network import Network, posterior_mean
from tests.support.same_draw import network_of, traced
from training.data import load_dataset
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.evaluation.temperature import calibrated, fit_temperature


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """All of them: sets that miss one image in a hundred need as many to calibrate on."""
    return load_dataset("digits", None, seed=0)


@pytest.fixture(scope="module")
def network(digits: Dataset) -> Network:
    plain, posterior = network_of("convnet", 1, seed=3)
    return fold_and_compact(traced(plain, posterior, digits.pixels))


@pytest.fixture(scope="module")
def evaluation(network: Network, digits: Dataset) -> Evaluation:
    return evaluate([network], digits, 4, 0, name="dense")


def test_figures_are_of_the_served_draws(network: Network, digits: Dataset, evaluation: Evaluation) -> None:
    """On the test set, at the temperature of the calibration set; the mean network beside them has its own."""
    (draws,) = served_draws([network], 4)
    logits = torch.stack([forward(network, digits.test.pixels, weights) for weights in draws])
    p = metrics.predictive(logits, evaluation.calibration.temperature)
    assert evaluation.metrics.nll == pytest.approx(metrics.nll(p, digits.test.labels), rel=1e-5)
    assert evaluation.mean_network is not None
    mean = forward(network, digits.test.pixels, mean_weights(network))[None]
    q = metrics.predictive(mean, evaluation.mean_network.temperature)
    assert evaluation.mean_network.nll == pytest.approx(metrics.nll(q, digits.test.labels), rel=1e-5)
    gain = evaluation.mean_network.nll - evaluation.metrics.nll
    assert evaluation.mean_network.nll_gain == pytest.approx(gain, abs=1e-9)


def test_shares_are_those_of_the_thresholds(evaluation: Evaluation, network: Network, digits: Dataset) -> None:
    """Coverage grows with the promise, and abstention is at least that of the entropy."""
    logits = torch.stack([forward(network, digits.test.pixels, weights) for weights in served_draws([network], 4)[0]])
    p = metrics.predictive(logits, evaluation.calibration.temperature)
    uncertain = float((metrics.entropy(p) > evaluation.calibration.abstain_above).double().mean())
    assert evaluation.metrics.abstained is not None
    assert uncertain <= evaluation.metrics.abstained <= 1
    for shares in evaluation.coverage.values():
        assert shares["0.1"] <= shares["0.05"] <= shares["0.01"]
    quantile = evaluation.calibration.conformal_quantiles["0.1"]
    sets = (1 - p <= quantile) | (torch.nn.functional.one_hot(p.argmax(1), p.shape[1]) > 0)
    covered = float(sets.gather(1, digits.test.labels[:, None]).double().mean())
    assert evaluation.coverage["lac"]["0.1"] == pytest.approx(covered)


def test_a_network_without_scales_takes_one_pass(network: Network, digits: Dataset, evaluation: Evaluation) -> None:
    """It is its own mean network: the same figures, and none beside them."""
    found = evaluate([posterior_mean(network)], digits, 32, 0, name="mean")
    assert found.monte_carlo.draws == 1
    assert found.mean_network is None
    assert evaluation.mean_network is not None
    assert found.calibration.temperature == pytest.approx(evaluation.mean_network.temperature)
    assert found.metrics.nll == pytest.approx(evaluation.mean_network.nll)


def test_held_out_images_are_tested_in_turns(network: Network, digits: Dataset) -> None:
    """The published calibration is of all of them, and no figure of an image is of one that it had a part in."""
    few = digits.test.spread(30)
    found = evaluate([network], replace(digits, calibration=few, test=few), 4, 0, name="dense")
    assert (found.calibration.images, found.calibration.folds, found.metrics.test_images) == (30, 10, 30)
    logits = torch.stack([forward(network, few.pixels, weights) for weights in served_draws([network], 4)[0]])
    assert found.calibration.temperature == pytest.approx(fit_temperature(logits, few.labels))
    p = calibrated(logits, few.labels, logits, replace(digits, calibration=few, test=few).turns)
    assert found.metrics.nll == pytest.approx(metrics.nll(p, few.labels), rel=1e-5)
    assert [*found.coverage["lac"]] == ["0.1", "0.05"]


def test_json_keeps_everything(evaluation: Evaluation) -> None:
    for each in (evaluation, replace(evaluation, mean_network=None)):
        assert Evaluation.from_json(each.to_json()) == each
