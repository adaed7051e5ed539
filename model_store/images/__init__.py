"""Decode pictures to the pixels that a model takes: one decoder for training, service and scoring.

Each format has a reader of its header, which is bounded in time and memory. It writes the picture anew, with nothing
but what decoding needs: no text, no profile, no second frame, no second header. Pillow decodes only what was written
here, so that what was checked is what is decoded.

This package imports numpy and Pillow, and no other part of `model_store`.
"""

# Not from typing, whose import would cost more than this package's.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from model_store.images.encoded import EncodedImage, image_format, open_image
    from model_store.images.errors import FolderError, ImageDamagedError, ImageError, ImageTooLargeError, ImageTypeError
    from model_store.images.folders import READ_FORMATS, READ_SUFFIXES, files_below, is_picture, visible
    from model_store.images.formats import FORMATS, SUFFIXES
    from model_store.images.writer import write_png

__all__ = [
    "FORMATS",
    "READ_FORMATS",
    "READ_SUFFIXES",
    "SUFFIXES",
    "EncodedImage",
    "FolderError",
    "ImageDamagedError",
    "ImageError",
    "ImageTooLargeError",
    "ImageTypeError",
    "files_below",
    "image_format",
    "is_picture",
    "open_image",
    "visible",
    "write_png",
]

if not TYPE_CHECKING:
    MODULES = {
        "EncodedImage": "encoded",
        "FORMATS": "formats",
        "FolderError": "errors",
        "ImageDamagedError": "errors",
        "ImageError": "errors",
        "ImageTooLargeError": "errors",
        "ImageTypeError": "errors",
        "READ_FORMATS": "folders",
        "READ_SUFFIXES": "folders",
        "SUFFIXES": "formats",
        "files_below": "folders",
        "image_format": "encoded",
        "is_picture": "folders",
        "open_image": "encoded",
        "visible": "folders",
        "write_png": "writer",
    }

    def __getattr__(name: str) -> object:
        """Import an exported name when it is first used (PEP 562)."""
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return globals().setdefault(name, getattr(import_module(f"{__name__}.{MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
