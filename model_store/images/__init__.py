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
    from model_store.images.errors import ImageDamagedError, ImageError, ImageTooLargeError, ImageTypeError
    from model_store.images.formats import FORMATS, SUFFIXES
    from model_store.images.writer import write_png

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "EncodedImage",
    "ImageDamagedError",
    "ImageError",
    "ImageTooLargeError",
    "ImageTypeError",
    "image_format",
    "open_image",
    "write_png",
]

if not TYPE_CHECKING:
    MODULES = {
        "EncodedImage": "encoded",
        "FORMATS": "formats",
        "ImageDamagedError": "errors",
        "ImageError": "errors",
        "ImageTooLargeError": "errors",
        "ImageTypeError": "errors",
        "SUFFIXES": "formats",
        "image_format": "encoded",
        "open_image": "encoded",
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
