"""Make a source of images in memory: arrays with labels, or any torch `Dataset` of (image, label).

| image | taken as |
|---|---|
| array or tensor uint8 [H, W] or [H, W, C], tensor uint8 [C, H, W] | its pixels |
| tensor float [C, H, W] of values from 0 to 1, as torchvision's `ToTensor` gives it | its 256 values |
| Pillow image | decoded as by the service; resized where a side is given |

All images have one size and one or three channels. Normalised images are refused: normalisation is part of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from model_store.images import FORMATS, ImageError, open_image, write_png
from model_store.text import is_text
from training.data.dataset import Images, Source
from training.data.image_folder import MAX_PIXELS, MIN_PICTURES, MIN_PICTURES_OFFICIAL, Square
from training.errors import DataError

Array: TypeAlias = npt.NDArray[Any] | Tensor
# Images uint8 [N, H, W, C] or [N, H, W] and labels [N], whole numbers or names; or items of (image, label).
InMemory: TypeAlias = tuple[Array, Sequence[Any] | Array] | TorchDataset[Any]
# Distance of a float's 255-fold from a whole number that rounding explains.
ROUNDING = 1e-3


def source_in_memory(
    data: InMemory, test: InMemory | None = None, classes: Sequence[str] | None = None, side: int | None = None
) -> Source:
    """Return the images of `data`, and those of `test` as the official test set.

    Labels are numbers of `classes`, by default of the data set's own attribute of that name, else from 0 to the largest
    label; or they are names of classes, which are then sorted. `side` resizes Pillow images to squares.

    Raises DataError for what is no image, images of several shapes, labels that are not of a class, and classes with
    too few images.
    """
    parts = [_pixels_and_labels(part, side) for part in (data, test) if part is not None]
    names = classes or getattr(data, "classes", None) or _class_names([labels for _, labels in parts])
    known = _checked_names(names)
    images = [Images(pixels, _numbered(labels, known)) for pixels, labels in parts]
    shapes = {tuple(part.pixels.shape[1:]) for part in images}
    if len(shapes) > 1:
        raise DataError(f"training and test images have other shapes: {' and '.join(map(str, sorted(shapes)))}")
    fewest = MIN_PICTURES if test is None else MIN_PICTURES_OFFICIAL
    for part, least in zip(images, fewest, strict=True):
        counts = part.labels.bincount(minlength=len(known)).tolist()
        if few := [f"{name} has {count}" for name, count in zip(known, counts, strict=True) if count < least]:
            raise DataError(f"too few images, expected at least {least} of each class: {', '.join(few[:10])}")
    return Source(known, *images)


def _pixels_and_labels(data: InMemory, side: int | None) -> tuple[Tensor, list[Any]]:
    """Return pixels uint8 [N, H, W, C], and the labels as they are given."""
    if isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"expected images and labels, found a tuple of {len(data)}")
        pixels = _stacked(data[0])
        labels = data[1].tolist() if isinstance(data[1], Tensor | np.ndarray) else list(data[1])
    else:
        pixels, labels = _items(data, side)
    if len(pixels) != len(labels):
        raise DataError(f"there are {len(pixels):,} images and {len(labels):,} labels: expected one label an image")
    return pixels, labels


def _stacked(images: Array) -> Tensor:
    pixels = torch.as_tensor(images).cpu()
    if pixels.dim() == 3:
        pixels = pixels[..., None]
    if pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[3] not in (1, 3) or not pixels.numel():
        found = f"{pixels.dtype} {list(pixels.shape)}".removeprefix("torch.")
        raise DataError(f"images are {found}: expected uint8 [N, H, W] or [N, H, W, C] with 1 or 3 channels")
    return pixels.contiguous()


def _items(data: TorchDataset[Any], side: int | None) -> tuple[Tensor, list[Any]]:
    """Read all items of a data set of (image, label)."""
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        raise DataError(f"{type(data).__name__} has no length: expected a data set of (image, label) with one")
    images, labels = list[npt.NDArray[np.uint8]](), list[Any]()
    for index in range(len(data)):
        item = data[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"item {index} is a {type(item).__name__}: expected (image, label)")
        try:
            images.append(_item_pixels(item[0], side))
        except (ImageError, DataError) as error:
            raise DataError(f"image {index} {error}") from error
        labels.append(item[1].item() if isinstance(item[1], Tensor | np.generic) else item[1])
        if images[-1].shape[:2] != images[0].shape[:2]:
            first, other = (f"{each.shape[1]} x {each.shape[0]}" for each in (images[0], images[-1]))
            raise DataError(
                f"image {index} has {other} pixels, image 0 has {first}: expected one size, or an image_size"
            )
    if not images:
        raise DataError(f"{type(data).__name__} is empty")
    if len({each.shape[2] for each in images}) > 1:  # grey among colour
        images = [np.repeat(each, 3, 2) if each.shape[2] == 1 else each for each in images]
    return torch.from_numpy(np.stack(images)), labels


def _item_pixels(image: object, side: int | None) -> npt.NDArray[np.uint8]:
    """Return the pixels uint8 [H, W, C] of one image."""
    if isinstance(image, Image.Image):
        opened = open_image(
            write_png(image),
            Square(side or image.height, side or image.width),
            formats=FORMATS,
            max_pixels=MAX_PIXELS,
        )
        pixels_HWC = opened.decode()
        return pixels_HWC[..., :1] if opened.is_grey else pixels_HWC
    if not isinstance(image, Tensor | np.ndarray):
        raise DataError(f"is a {type(image).__name__}: expected an array, a tensor or a Pillow image")
    array = np.asarray(image.cpu() if isinstance(image, Tensor) else image)
    if array.ndim == 2:
        array = array[..., None]
    if isinstance(image, Tensor) and array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise DataError(f"has the shape {list(array.shape)}: expected [H, W, C], or [C, H, W] in a tensor, of 1 or 3 C")
    return _as_bytes(array)


def _as_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return cast("npt.NDArray[np.uint8]", array)
    values = array.astype(np.float64) * 255
    rounded = values.round()
    whole = bool(np.isfinite(values).all()) and float(abs(values - rounded).max()) < ROUNDING
    if array.dtype.kind != "f" or not whole or rounded.min() < 0 or rounded.max() > 255:
        raise DataError(
            f"holds {array.dtype} from {array.min():g} to {array.max():g}: expected uint8, or floats k/255 from 0 to "
            "1; leave out normalisation, which the network does, and pass augmentation= instead of a random transform"
        )
    return rounded.astype(np.uint8)


def _class_names(parts: Sequence[Sequence[Any]]) -> list[str]:
    """Return the classes that labels tell: names, sorted, or numbers from 0 to the largest."""
    labels = {label for part in parts for label in part}
    if all(isinstance(label, str) for label in labels):
        return sorted(labels)
    numbers = [label for label in labels if isinstance(label, int) and not isinstance(label, bool)]
    if len(numbers) < len(labels):
        raise DataError("labels must be whole numbers from 0, or names of classes")
    if max(numbers) >= 10 * len(numbers) + 10:
        raise DataError(f"labels go up to {max(numbers):,}, and only {len(numbers):,} are used: number them from 0")
    return [str(number) for number in range(max(numbers) + 1)]


def _checked_names(names: Sequence[Any]) -> tuple[str, ...]:
    known = tuple(map(str, names))
    if len(known) < 2 or len(set(known)) < len(known):
        raise DataError(f"expected at least two classes with names of their own, found {', '.join(known) or 'none'}")
    if odd := next((name for name in known if not is_text(name) or not name), None):
        raise DataError(f"the class {odd!r} needs a name in UTF-8, without control characters")
    return known


def _numbered(labels: Sequence[Any], classes: Sequence[str]) -> Tensor:
    """Return labels as numbers of classes, int64 [N]."""
    places = {name: place for place, name in enumerate(classes)}
    numbers = [places.get(label, -1) if isinstance(label, str) else label for label in labels]
    for index, number in enumerate(numbers):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(classes):
            raise DataError(
                f"label {index} is {labels[index]!r}: expected a number from 0 to {len(classes) - 1}, or one of "
                f"{', '.join(classes[:10])}{' …' if len(classes) > 10 else ''}"
            )
    return torch.tensor(numbers, dtype=torch.int64)
