"""What is said of a data set before training: counts that add up, and what they are too few for."""

from __future__ import annotations

import torch

from training.data.dataset import Dataset, Images, Source
from training.data.findings import describe
from training.data.split import split


def made(counts: list[int], test: list[int] | None = None) -> Dataset:
    """A data set with so many images of each class."""

    def images(of: list[int]) -> Images:
        labels = torch.arange(len(of)).repeat_interleave(torch.tensor(of))
        return Images(torch.zeros(len(labels), 4, 4, 1, dtype=torch.uint8), labels)

    names = tuple(f"c{number}" for number in range(len(counts)))
    return split("made", Source(names, images(counts), None if test is None else images(test)), seed=0)


def test_few_images_are_few_for_much() -> None:
    first, *others = describe(made([20, 30]), from_scratch=True)
    assert first.startswith("made: 50 images of 2 classes (c0 20, c1 30): 36 to train on, 14 held out, each tested")
    assert [line.split()[0] for line in others] == ["36", "14", "14"]
    assert "an accuracy of 90% is known to lie in 65.0-97.8%" in others[1]
    assert others[2].endswith("error rates: 5% takes 19, some 68 images in all, 1% takes 99, some 354 images in all")


def test_an_official_test_set_is_counted_apart() -> None:
    first, *others = describe(made([60, 60], [10, 10]), from_scratch=True)
    assert "140 images of 2 classes (c0 70, c1 70): 108 to train on, 12 to calibrate on, 20 to test on" in first
    assert others[-1].endswith("5% takes 19, 1% takes 99")


def test_enough_images_are_only_counted() -> None:
    assert len(describe(made([6_000, 6_000]), from_scratch=True)) == 1


def test_few_images_are_enough_for_a_trained_network() -> None:
    scratch, trained = (describe(made([20, 30]), from_scratch=each) for each in (True, False))
    assert [line for line in scratch if line not in trained] == [
        "36 images are few to train a network from scratch: --arch efficientnet_lite0 --pretrained, or --init-from, "
        "starts from a trained one"
    ]
    assert [line for line in scratch if line in trained] == trained


def test_many_classes_are_counted() -> None:
    first = describe(made([*range(30, 42)] * 2), from_scratch=True)[0]
    assert "c9 39, and 14 more of 30 to 41)" in first
