"""What every data set becomes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset import MAX_FOLDS, Dataset, Images, Pixels, Source
from training.errors import DataError


def test_normalised_training_images_have_mean_zero_and_deviation_one() -> None:
    torch.manual_seed(0)
    pixels_NHWC = torch.randint(0, 256, (50, 6, 5, 3), dtype=torch.uint8)
    pixels_NHWC[..., 1] //= 4
    x_NCHW = Pixels.of(pixels_NHWC).normalise(pixels_NHWC)
    assert x_NCHW.shape == (50, 3, 6, 5)
    assert x_NCHW.dtype == torch.float32
    torch.testing.assert_close(x_NCHW.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x_NCHW.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_normalise_moves_channels_first_and_no_pixels() -> None:
    pixels_NHWC = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    x_NCHW = Pixels(4, 5, 3, (0.0, 0.5, 0.0), (1.0, 0.5, 2.0)).normalise(pixels_NHWC)
    assert x_NCHW[1, 0, 3, 2] == pytest.approx(int(pixels_NHWC[1, 3, 2, 0]) / 255)
    assert x_NCHW[0, 1, 2, 4] == pytest.approx(int(pixels_NHWC[0, 2, 4, 1]) / 127.5 - 1, abs=1e-6)
    assert x_NCHW[0, 2, 0, 1] == pytest.approx(int(pixels_NHWC[0, 0, 1, 2]) / 510)
    assert x_NCHW.is_contiguous(memory_format=torch.channels_last)


def test_normalise_is_exact_to_the_last_bits() -> None:
    """The formula in double precision, for all values and for means and deviations as they occur."""
    pixels = Pixels(16, 16, 3, (0.4914, 0.4822, 0.01), (0.247, 0.2435, 0.001))
    values_NHWC = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    mean, std = (torch.tensor(each, dtype=torch.float64) for each in (pixels.mean, pixels.std))
    expected = ((values_NHWC.double() / 255 - mean) / std).permute(0, 3, 1, 2)
    error_C = (pixels.normalise(values_NHWC) - expected).abs().amax((0, 2, 3))
    assert (error_C * std <= 2e-7).all()


def test_images_without_contrast_stay_finite() -> None:
    grey = torch.full((3, 2, 2, 1), 7, dtype=torch.uint8)
    assert Pixels.of(grey).normalise(grey).isfinite().all()


@pytest.mark.parametrize("count", [1, 7, 30, 100])
def test_some_images_are_spread_over_all(count: int) -> None:
    """Those of a folder come class by class: the first would be of the first class."""
    images = Images(torch.zeros(90, 1, 1, 1, dtype=torch.uint8), torch.arange(90) // 30)
    found = images.spread(count)
    assert len(found) == min(count, 90)
    counts = found.labels.bincount(minlength=3)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range_are_refused(label: int) -> None:
    pixels = torch.zeros(2, 1, 1, 1, dtype=torch.uint8)
    with pytest.raises(DataError, match="labels must lie in 0 to 1"):
        Source(("a", "b"), Images(pixels, torch.tensor([0, label])))


def dataset(labels: list[int], test: list[int] | None = None) -> Dataset:
    """A data set that holds out images with these labels, and tests on them in turns unless there are others."""
    held, other = (
        Images(torch.zeros(len(each), 1, 1, 1, dtype=torch.uint8), torch.tensor(each)) for each in (labels, test or [0])
    )
    pixels = Pixels(1, 1, 1, (0.0,), (1.0,))
    return Dataset("made", ("a", "b", "c"), pixels, held, held, held if test is None else other, {})


@given(st.lists(st.integers(0, 2), min_size=2, max_size=80))
def test_in_turns_each_image_is_tested_once_by_all_others_of_its_fold(labels: list[int]) -> None:
    """No image is tested by itself, and every fold has its share of each class."""
    found = dataset(labels)
    assert found.in_turns
    assert len(found.turns) == min(MAX_FOLDS, len(labels))
    assert torch.cat([turn.tested for turn in found.turns]).sort().values.tolist() == list(range(len(labels)))
    counts = torch.stack([found.test.labels[turn.tested].bincount(minlength=3) for turn in found.turns])
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1
    for turn in found.turns:
        both = [*turn.tested.tolist(), *turn.calibrating.tolist()]
        assert sorted(both) == list(range(len(labels)))


def test_disjoint_sets_take_one_turn() -> None:
    found = dataset([0, 1, 2, 0], test=[1, 2])
    assert not found.in_turns
    (turn,) = found.turns
    assert (turn.tested.tolist(), turn.calibrating.tolist()) == ([0, 1], [0, 1, 2, 3])
