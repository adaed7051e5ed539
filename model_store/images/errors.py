"""Define the errors of pictures.

    ImageError
    ├── ImageTypeError          not a picture, or of a type that is not read here
    ├── ImageTooLargeError      more pixels than are allowed
    └── ImageDamagedError       empty, damaged or cut short

    FolderError                 folder of pictures that cannot be listed

Messages say what a picture is or has; who reports one puts the picture's name before it.
"""

from pathlib import Path


class ImageError(Exception):
    """Base class of the errors of pictures."""


class ImageTypeError(ImageError):
    """Not a picture, or of a type that is not read here."""


class ImageTooLargeError(ImageError):
    """More pixels than are allowed."""


class ImageDamagedError(ImageError):
    """Picture that is empty, damaged or cut short."""

    def __init__(self, message: str = "cannot be decoded: it is damaged or cut short") -> None:
        super().__init__(message)


class FolderError(Exception):
    """Folder of pictures that cannot be listed; who reports it puts its name before the problem."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(f"{folder} {problem}")
        self.folder, self.problem = folder, problem
