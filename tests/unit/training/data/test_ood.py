"""Images that are none of the classes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.dataset import Pixels
from training.data.ood import IMAGES_PER_SET, MAX_FILE_IMAGES, load_ood_sets
from training.errors import DataError

SHAPES = [Pixels(8, 8, 1, (0.5,), (0.5,)), Pixels(12, 10, 3, (0.5,) * 3, (0.5,) * 3)]


@pytest.mark.parametrize("pixels", SHAPES, ids=["grey", "colour"])
def test_sets_have_the_shape_of_the_data_set(pixels: Pixels) -> None:
    sets = load_ood_sets(pixels)
    assert set(sets) == {"noise", "blank", "crops"}
    for images in sets.values():
        assert images.shape == (IMAGES_PER_SET, pixels.height, pixels.width, pixels.channels)
        assert images.dtype == torch.uint8


def test_sets_are_the_same_in_each_run_whatever_else_is_drawn() -> None:
    first = load_ood_sets(SHAPES[0])
    torch.manual_seed(99)
    again = load_ood_sets(SHAPES[0])
    assert all(torch.equal(images, again[name]) for name, images in first.items())


def test_noise_is_uniform_and_crops_are_smooth_and_different() -> None:
    sets = load_ood_sets(SHAPES[1])
    noise, crops = (images.double() for images in (sets["noise"], sets["crops"]))
    assert float(noise.mean()) == pytest.approx(127.5, abs=1)
    assert float(noise.std()) == pytest.approx(73.9, abs=1)
    # Neighbouring pixels of a photograph are alike; those of noise differ by 85 on average.
    assert float((noise[:, 1:] - noise[:, :-1]).abs().mean()) == pytest.approx(85.3, abs=2)
    assert float((crops[:, 1:] - crops[:, :-1]).abs().mean()) < 40
    assert len({tuple(image.flatten().tolist()) for image in crops}) > 0.9 * IMAGES_PER_SET


@pytest.mark.parametrize("pixels", SHAPES, ids=["grey", "colour"])
def test_blank_images_have_one_colour_each_and_many_together(pixels: Pixels) -> None:
    blank = load_ood_sets(pixels)["blank"]
    assert (blank == blank[:, :1, :1]).all()
    assert blank[:2, 0, 0].tolist() == [[0] * pixels.channels, [255] * pixels.channels]
    assert len({tuple(colour.tolist()) for colour in blank[:, 0, 0]}) > (200 if pixels.channels == 1 else 490)
    assert float(blank.double().mean()) == pytest.approx(127.5, abs=10)


def images_of(count: int, pixels: Pixels = SHAPES[1]) -> np.ndarray:
    shape = (count, pixels.height, pixels.width, pixels.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_files_in_the_folder_become_sets(tmp_path: Path) -> None:
    images = {"birds": images_of(3), "cifar-100": images_of(2)}
    for name, of_set in images.items():
        np.savez_compressed(tmp_path / f"{name}-ood.npz", images=of_set, labels=np.zeros(len(of_set)))
    for other in ("birds.npz", ".hidden-ood.npz", "birds-ood.npz.part"):
        (tmp_path / other).write_bytes(b"no archive")
    sets = load_ood_sets(SHAPES[1], tmp_path)
    assert list(sets) == ["noise", "blank", "crops", "birds", "cifar-100"]
    assert all(np.array_equal(sets[name].numpy(), of_set) for name, of_set in images.items())


def test_only_the_first_images_of_a_large_file_are_taken(tmp_path: Path) -> None:
    images = images_of(MAX_FILE_IMAGES + 1, Pixels(2, 2, 1, (0.5,), (0.5,)))
    np.savez(tmp_path / "many-ood.npz", images=images)
    found = load_ood_sets(Pixels(2, 2, 1, (0.5,), (0.5,)), tmp_path)["many"]
    assert np.array_equal(found.numpy(), images[:MAX_FILE_IMAGES])


def test_a_folder_without_files_adds_nothing(tmp_path: Path) -> None:
    assert len(load_ood_sets(SHAPES[0], tmp_path)) == 3
    assert len(load_ood_sets(SHAPES[0], tmp_path / "nowhere")) == 3


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (images_of(3).astype(np.float32), r"found float32 \[3, 12, 10, 3\]"),
        (images_of(3)[:, :-1], r"found uint8 \[3, 11, 10, 3\]"),
        (images_of(3)[..., :1], r"found uint8 \[3, 12, 10, 1\]"),
        (images_of(1)[0], r"found uint8 \[12, 10, 3\]"),
        (images_of(0), r"found uint8 \[0, 12, 10, 3\]"),
        (np.uint8(5), r"found uint8 \[\]"),
    ],
)
def test_images_of_another_form_are_refused(tmp_path: Path, images: np.ndarray, found: str) -> None:
    np.savez(tmp_path / "odd-ood.npz", images=images)
    with pytest.raises(DataError, match=rf"odd-ood\.npz must be uint8 \[N, 12, 10, 3\], {found}"):
        load_ood_sets(SHAPES[1], tmp_path)


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "odd-ood.npz", pictures=images_of(3))
    with pytest.raises(DataError, match=r"odd-ood\.npz must hold an array `images`"):
        load_ood_sets(SHAPES[1], tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd-ood.npz"
    np.savez_compressed(path, images=images_of(3))
    whole = path.read_bytes()
    np.savez(path, images=np.array([{}], dtype=object))
    for content in (whole[:500], b"", b"no archive", whole[:300] + bytes(200) + whole[500:], path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"odd-ood\.npz is damaged or not an archive of arrays"):
            load_ood_sets(SHAPES[1], tmp_path)


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "odd-ood.npz").write_bytes(pickle.dumps(_Touch(trace)))
    with pytest.raises(DataError, match=r"odd-ood\.npz is damaged"):
        load_ood_sets(SHAPES[1], tmp_path)
    np.savez(tmp_path / "odd-ood.npz", images=np.array([_Touch(trace)], dtype=object))
    with pytest.raises(DataError, match=r"odd-ood\.npz is damaged"):
        load_ood_sets(SHAPES[1], tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["noise", "blank", "crops", "test", "calibration", "train", ""])
def test_names_that_are_taken_are_refused(tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / f"{name}-ood.npz", images=images_of(3))
    with pytest.raises(DataError, match=f"needs another name: '{name}' is taken"):
        load_ood_sets(SHAPES[1], tmp_path)
