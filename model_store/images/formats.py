"""Name the formats of pictures and the suffixes of their files."""

from typing import Literal

Format = Literal["png", "jpeg", "webp", "bmp", "gif", "tiff"]

# Read unless others are chosen; tiff, with its many variants, is read only where it is switched on.
FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp", "bmp", "gif")
# Files that count as pictures in a folder; a file that is named may have any suffix.
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "png": (".png", ".apng"),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "webp": (".webp",),
    "bmp": (".bmp",),
    "gif": (".gif",),
    "tiff": (".tif", ".tiff"),
}
