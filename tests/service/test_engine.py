"""The engine and its bank against the bare file, and against themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from model_store.store import Store
from service.artifact import read_artifact
from service.bank import Bank, noise
from service.engine import Engine
from service.uncertainty import softmax


@pytest.fixture(scope="module")
def published(digits_store: Path) -> tuple[bytes, str]:
    """The file of the level p90 and its SHA-256."""
    store = Store.open(digits_store)
    manifest = store.manifest("digits", store.resolve("digits"))
    level = manifest.level("p90")
    assert level is not None
    return store.read_level(manifest, "p90"), level.sha256


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Four pictures of noise."""
    return np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)


def test_noise_is_standard_normal_and_a_function_of_its_key() -> None:
    """Moments of a normal distribution; another key, draw or weight gives other, uncorrelated noise."""
    key = "ab" * 32
    one = noise(key, 0, 0, (200, 500))
    assert one.dtype == np.float32
    assert abs(one.mean()) < 4 / np.sqrt(one.size)
    assert abs(one.std() - 1) < 0.01
    assert (one == noise(key, 0, 0, (200, 500))).all()
    for other in (noise(key, 1, 0, (200, 500)), noise(key, 0, 1, (200, 500)), noise("ac" * 32, 0, 0, (200, 500))):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_draws_do_not_depend_on_workers(published: tuple[bytes, str], images: np.ndarray, num_workers: int) -> None:
    """Shape, order and values are those of the networks run one by one; fewer samples are the first of more."""
    data, sha256 = published
    bank = Bank(read_artifact(data), sha256)
    with ThreadPoolExecutor(num_workers) as workers:
        logits = Engine(bank, workers, num_workers).draws(images, 7)
        few = Engine(bank, workers, num_workers).draws(images, 2)
    single = np.stack([network.run(["logits"], {"images": images})[0] for network in bank.networks])
    assert logits.shape == (7, 4, 10)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, single)
    np.testing.assert_array_equal(few, logits[:2])
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_bare_file_draws_without_our_code(published: tuple[bytes, str], images: np.ndarray) -> None:
    """The file alone, in ONNX Runtime: two runs differ, and the mean of 2,000 agrees with the engine's."""
    data, sha256 = published
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options)
    runs = np.stack([session.run(None, {"images": images})[0] for _ in range(2000)])
    assert np.abs(runs[0] - runs[1]).max() > 1e-3
    with ThreadPoolExecutor(2) as workers:
        ours = Engine(Bank(read_artifact(data), sha256), workers, 2).draws(images, 512)
    bare_p, our_p = softmax(runs.astype(np.float64)), softmax(ours.astype(np.float64))
    error = np.sqrt(bare_p.var(0) / len(bare_p) + our_p.var(0) / len(our_p))
    assert (np.abs(bare_p.mean(0) - our_p.mean(0)) < 5 * error + 1e-4).all()


def test_bank_grows_once_under_many_threads(published: tuple[bytes, str], images: np.ndarray) -> None:
    """Concurrent requests share one bank."""
    data, sha256 = published
    bank = Bank(read_artifact(data), sha256)
    with ThreadPoolExecutor(2) as workers, ThreadPoolExecutor(8) as callers:
        engine = Engine(bank, workers, 2)
        answers = list(callers.map(lambda samples: engine.draws(images, samples), [3, 8, 5, 8, 2, 8]))
    assert len(bank.networks) == 8
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[1][: len(answer)])
