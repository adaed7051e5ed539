"""Train, calibration and test: disjoint, stratified, and a function of the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model_store.small_samples import ALPHAS, images_needed
from training.data import digits, load_dataset
from training.data.dataset import Dataset, Images, Source
from training.data.ood import IMAGES_PER_SET
from training.data.split import split
from training.errors import DataError


def numbered(per_class: int = 100, classes: int = 3) -> Images:
    """Images that carry their own number in two pixels, so that each can be told from the others."""
    number = torch.arange(per_class * classes)
    pixels = torch.stack([number // 256, number % 256], 1).to(torch.uint8)[:, None, :, None]
    return Images(pixels, number % classes)


def numbers(images: Images) -> set[int]:
    return {int(high) * 256 + int(low) for high, low in images.pixels.reshape(-1, 2)}


def parts(dataset: Dataset) -> tuple[Images, Images, Images]:
    return dataset.train, dataset.calibration, dataset.test


def divided(seed: int = 0, limit: int | None = None, test: Images | None = None, per_class: int = 400) -> Dataset:
    return split("numbered", Source(("a", "b", "c"), numbered(per_class), test), seed=seed, limit=limit)


def test_parts_are_disjoint_and_leave_nothing_out() -> None:
    found = [numbers(part) for part in parts(divided())]
    assert set.union(*found) == set(range(1_200))
    assert sum(map(len, found)) == 1_200


def test_labels_stay_with_their_images() -> None:
    for part in parts(divided()):
        assert all(
            (int(p[0, 0, 0]) * 256 + int(p[0, 1, 0])) % 3 == label for p, label in zip(*_both(part), strict=True)
        )


def _both(part: Images) -> tuple[Tensor, list[int]]:
    return part.pixels, part.labels.tolist()


def test_each_part_has_its_share_of_each_class() -> None:
    """A fifth to test on, and a tenth of the rest to calibrate on."""
    for part, count in zip(parts(divided(per_class=500)), (360, 40, 100), strict=True):
        assert part.labels.bincount().tolist() == [count] * 3


def test_more_images_never_allow_fewer_prediction_sets() -> None:
    """Not even where two sets are held out instead of one."""
    sizes = [len(divided(per_class=count).calibration) for count in range(340, 420, 4)]
    allowed = [[alpha for alpha in ALPHAS if images_needed(alpha) <= size] for size in sizes]
    assert sizes != sorted(sizes)
    assert allowed == sorted(allowed, key=len)


def test_digits_are_stratified() -> None:
    whole = digits.load(None).train.labels.bincount() / 1797
    for part in parts(load_dataset("digits", None, seed=3)):
        assert (part.labels.bincount() / len(part) - whole).abs().max() < 0.01


def test_the_split_is_a_function_of_the_seed() -> None:
    first, again, other = divided(1, 100), divided(1, 100), divided(2, 100)
    assert all(numbers(a) == numbers(b) for a, b in zip(parts(first), parts(again), strict=True))
    assert numbers(first.calibration) != numbers(other.calibration)
    assert numbers(first.train) != numbers(other.train)


def test_the_test_set_is_the_same_for_all_seeds() -> None:
    for limit in (None, 20):
        assert numbers(divided(1, limit).test) == numbers(divided(2, limit).test)


def test_an_official_test_set_is_kept() -> None:
    official = Images(torch.full((5, 1, 2, 1), 255, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    dataset = divided(test=official)
    assert torch.equal(dataset.test.pixels, official.pixels)
    assert len(dataset.train) + len(dataset.calibration) == 1_200


@given(st.integers(6, 1_199))
@settings(max_examples=30, deadline=None)
def test_a_limit_keeps_that_many_images_the_same_share_of_each_class(limit: int) -> None:
    dataset = divided(limit=limit)
    trained = torch.cat([dataset.train.labels, dataset.calibration.labels]).bincount()
    assert int(trained.sum()) == min(limit, 960)
    assert len(dataset.test) == min(limit, 240)
    assert all(len(images) == min(limit, IMAGES_PER_SET) for images in dataset.out_of_distribution.values())
    for kept in (trained, dataset.test.labels.bincount()):
        assert kept.max() - kept.min() <= 1


@given(st.lists(st.integers(1, 60), min_size=3, max_size=3), st.integers(6, 200))
@settings(max_examples=50, deadline=None)
def test_classes_of_different_sizes_keep_their_shares(sizes: list[int], limit: int) -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor(sizes))
    official = Images(torch.zeros(len(labels), 1, 2, 1, dtype=torch.uint8), labels)
    kept = divided(limit=limit, test=official, per_class=100).test.labels.bincount(minlength=3).tolist()
    assert sum(kept) == min(limit, sum(sizes))
    for count, size in zip(kept, sizes, strict=True):
        assert 1 <= count <= size
        assert abs(count - min(1.0, limit / sum(sizes)) * size) < 2


def test_a_smaller_limit_keeps_some_of_the_same_images() -> None:
    few, many = divided(limit=30), divided(limit=100)
    assert numbers(few.test) < numbers(many.test)
    assert numbers(few.train) | numbers(few.calibration) < numbers(many.train) | numbers(many.calibration)


def test_an_official_test_set_is_limited_too() -> None:
    official = numbered(50)
    kept = divided(limit=30, test=official).test
    assert kept.labels.bincount().tolist() == [10, 10, 10]
    assert numbers(kept) < numbers(official)


def test_strangers_in_the_folder_are_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "odd-ood.npz", images=np.zeros((9, 1, 2, 1), np.uint8))
    source = Source(("a", "b", "c"), numbered())
    assert len(split("numbered", source, seed=0, folder=tmp_path).out_of_distribution["odd"]) == 9
    assert len(split("numbered", source, seed=0, limit=8, folder=tmp_path).out_of_distribution["odd"]) == 8


def test_a_limit_above_the_size_changes_nothing() -> None:
    assert numbers(divided(limit=10_000).train) == numbers(divided().train)


@pytest.mark.parametrize("per_class", [3, 20, 357])
def test_few_images_are_held_out_once_for_both(per_class: int) -> None:
    """As many are left to train on as of many, whatever the seed."""
    found = divided(per_class=per_class)
    assert found.in_turns
    assert numbers(found.train).isdisjoint(numbers(found.test))
    assert len(found.train) + len(found.test) == 3 * per_class
    assert found.test.labels.bincount().tolist() == [max(1, round(0.28 * per_class))] * 3
    assert numbers(divided(1, per_class=per_class).test) == numbers(found.test)
    assert not divided(per_class=358).in_turns


def test_few_held_out_images_are_limited_too() -> None:
    found = divided(limit=30, per_class=100)
    assert (len(found.train), len(found.test)) == (30, 30)
    assert found.in_turns


@pytest.mark.parametrize(("per_class", "count"), [(4, 3), (10, 7), (12, 9), (20, 10), (33, 10), (50, 15)])
def test_beside_an_official_test_set_ten_images_calibrate(per_class: int, count: int) -> None:
    """Or a quarter of fewer than forty, but at least one of each class; a tenth of more than a hundred."""
    found = divided(test=numbered(5), per_class=per_class)
    assert len(found.calibration) == count
    assert not found.in_turns
    assert len(found.train) == 3 * per_class - count


def test_pixels_are_measured_on_the_training_images_only() -> None:
    dataset = divided()
    scaled = dataset.train.pixels.double() / 255
    assert dataset.pixels.mean[0] == pytest.approx(float(scaled.mean()))
    assert dataset.pixels.std[0] == pytest.approx(float(scaled.std(correction=0)), rel=1e-5)


def test_too_few_images_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match="at least two classes"):
        load_dataset("digits", None, seed=0, limit=4)
