"""Noise of draws: its distribution, its pairs, and what its key depends on."""

from __future__ import annotations

import numpy as np

from model_store.onnx_file.draws import draw_key, noise

KEY = "ab" * 32


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


def test_a_key_is_of_values_alone() -> None:
    """Every mean and scale counts; the sign of a zero and the layout in memory do not."""
    mean, scale = np.array([[0.5, 0.0], [1.0, -2.0]], np.float32), np.full((2, 2), 0.1, np.float32)
    known = draw_key([(mean, scale)])
    assert len(bytes.fromhex(known)) == 32
    assert draw_key([(np.asfortranarray(np.where(mean == 0, -0.0, mean).astype(np.float32)), scale)]) == known
    others = [[(mean, scale * 2)], [(mean + 1, scale)], [(scale, mean)], [(mean, scale)] * 2, []]
    assert len({known, *map(draw_key, others)}) == 1 + len(others)
