"""The engine and its bank against the bare file, and against themselves."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from scipy.special import softmax

from model_store.location import ZOO
from model_store.store import Store
from service.admission import DRAWS
from service.arrangement import SIZES, arrange
from service.artifact import Artifact, FloatArray, read_artifact
from service.bank import Bank
from service.engine import Engine
from service.noise import noise
from service.quantization import form
from service.session import Arrays, Session, with_constants
from service.split import split

KEY = "ab" * 32


@pytest.fixture(scope="module")
def data(digits_store: Path) -> bytes:
    """The file of the level p90."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    return store.read_level(manifest, "p90")


@pytest.fixture(scope="module")
def artifact(data: bytes) -> Artifact:
    """The file, read."""
    return read_artifact(data)


@pytest.fixture(scope="module")
def zoo_level() -> Artifact:
    """The zoo's level x4, whose first layers are deterministic."""
    store = Store.open(ZOO)
    (name,) = store.models()
    manifest = store.manifest(name, store.resolve(name))
    return read_artifact(store.read_level(manifest, "x4"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Four pictures of noise."""
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def builders() -> Iterator[ThreadPoolExecutor]:
    """Two threads that build."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


class CountingSession(Session):
    """A session that counts its runs."""

    runs = 0

    def run(self, feed: Arrays) -> list[FloatArray]:
        """As it is, counted."""
        self.runs += 1
        return super().run(feed)


def plain(artifact: Artifact, weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Logits of the undivided graph under some weights."""
    (logits,) = Session(with_constants(artifact.graph, weights)).run({"images": images})
    return logits


def test_noise_is_standard_normal_and_a_function_of_its_key() -> None:
    """Moments of a normal distribution; another key, pair or weight gives other, uncorrelated noise."""
    one = noise(KEY, 0, 0, (200, 500))
    assert one.dtype == np.float32
    assert abs(one.mean()) < 4 / np.sqrt(one.size)
    assert abs(one.std() - 1) < 0.01
    assert (one == noise(KEY, 0, 0, (200, 500))).all()
    for other in (noise(KEY, 2, 0, (200, 500)), noise(KEY, 0, 1, (200, 500)), noise("ac" * 32, 0, 0, (200, 500))):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_draws_are_antithetic_pairs() -> None:
    """The second of a pair has the noise of the first, negated."""
    assert (noise(KEY, 6, 3, (5, 7)) == -noise(KEY, 7, 3, (5, 7))).all()


@pytest.mark.parametrize("size", SIZES)
def test_draws_do_not_depend_on_packs(
    artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor, size: int
) -> None:
    """Logits are those of the whole graph under each draw, the same bits in every pack; few samples begin more."""
    engine = Engine(Bank(artifact, KEY, size), builders)
    logits = engine.draws(images, 7)
    np.testing.assert_array_equal(logits, Engine(Bank(artifact, KEY, 1), builders).draws(images, 7))
    single = np.stack([plain(artifact, engine.bank.weights(draw), images) for draw in range(7)])
    assert logits.shape == (7, 4, 10)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, single, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(engine.draws(images, 2), logits[:2])
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_what_is_cut_most_computes_no_draw_for_nothing(size: int) -> None:
    """An overloaded service has no time for draws that no answer takes."""
    fewest = min(draws for draws in DRAWS if draws is not None)
    assert fewest % size == 0


def test_what_draws_share_runs_apart(artifact: Artifact) -> None:
    """Scaling and turning the pixels, and every layer before the first random one."""
    made = form(artifact)
    parts = split(made.graph, made.names)
    random = {weight.name for weight in artifact.weights}
    assert {node.op_type for node in parts.shared.graph.node} >= {"Cast", "Transpose"}
    assert not any(random & set(node.input) for node in parts.shared.graph.node)
    assert len(parts.shared.graph.node) + len(parts.drawn.graph.node) == len(artifact.graph.graph.node)


def test_deterministic_layers_in_front_are_shared(artifact: Artifact, images: np.ndarray) -> None:
    """Weights that lost their scale become constants of the shared part, and nothing else changes."""
    first, *others = artifact.weights
    graph = with_constants(artifact.graph, {first.name: first.mean})
    fixed = Artifact(graph, tuple(others), artifact.image_shape, artifact.num_classes)
    assert "Conv" in {node.op_type for node in split(fixed.graph, [weight.name for weight in others]).shared.graph.node}
    with ThreadPoolExecutor(1) as builders:
        bank = Bank(fixed, KEY, 2)
        logits = Engine(bank, builders).draws(images, 4)
    single = np.stack([plain(fixed, bank.weights(draw), images) for draw in range(4)])
    np.testing.assert_allclose(logits, single, rtol=1e-5, atol=1e-5)


def test_what_is_shared_may_take_more_threads(zoo_level: Artifact, builders: ThreadPoolExecutor) -> None:
    """The same bits, and used only by who is alone."""
    engine = Engine(Bank(zoo_level, KEY), builders)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    narrow, before = engine.shared(pixels), engine.bank.nbytes
    assert max(array.ndim for array in narrow) == 4
    engine.bank.wide = wide = CountingSession(engine.bank.split.shared, 2)
    assert (engine.bank.shared.threads, wide.threads) == (1, 2)
    assert engine.bank.nbytes > before
    for one, other in zip(narrow, engine.shared(pixels, alone=True), strict=True):
        np.testing.assert_array_equal(one, other)
    engine.shared(pixels)
    assert wide.runs == 1


def test_a_network_without_noise_is_shared_to_the_last_layer(artifact: Artifact, images: np.ndarray) -> None:
    """All draws are equal then, and cost one pass."""
    means = {weight.name: weight.mean for weight in artifact.weights}
    fixed = Artifact(with_constants(artifact.graph, means), (), artifact.image_shape, artifact.num_classes)
    assert len(split(fixed.graph, []).drawn.graph.node) == 1
    with ThreadPoolExecutor(1) as builders:
        logits = Engine(Bank(fixed, KEY, 2), builders).draws(images, 4)
    assert (logits == logits[0]).all()


def test_arrangement(artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor) -> None:
    """One of those that were tried, ready for its first pack, and knowing what draws take and what they share."""
    engine = arrange(artifact, KEY, builders, 2)
    assert engine.bank.size in SIZES
    assert engine.prepared(engine.bank.size)
    assert engine.seconds(2) > engine.seconds(1) > engine.seconds(1, shared=False) > 0
    np.testing.assert_array_equal(engine.draws(images, 4), Engine(Bank(artifact, KEY, 1), builders).draws(images, 4))


def test_bare_file_draws_without_our_code(
    data: bytes, artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor
) -> None:
    """The file alone, in ONNX Runtime: two runs differ, and the mean of 2,000 agrees with the engine's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options)
    runs = np.stack([session.run(None, {"images": images})[0] for _ in range(2000)])
    assert np.abs(runs[0] - runs[1]).max() > 1e-3
    ours = Engine(Bank(artifact, KEY, 4), builders).draws(images, 512)
    bare_p, our_p = softmax(runs, -1), softmax(ours, -1)
    error = np.sqrt(bare_p.var(0) / len(bare_p) + our_p.var(0) / len(our_p))
    assert (np.abs(bare_p.mean(0) - our_p.mean(0)) < 5 * error + 1e-4).all()


def test_bank_grows_once_under_many_threads(
    artifact: Artifact, images: np.ndarray, builders: ThreadPoolExecutor
) -> None:
    """Concurrent requests share one bank."""
    bank = Bank(artifact, KEY, 2)
    engine = Engine(bank, builders)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda samples: engine.draws(images, samples), [3, 8, 5, 8, 2, 8]))
    assert len(bank.packs) == 4
    assert bank.nbytes > 8 * sum(weight.mean.nbytes for weight in artifact.weights)
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[1][: len(answer)])
