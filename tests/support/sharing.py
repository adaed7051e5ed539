"""Share folders and network interfaces between the processes of a test run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

Once = Callable[[str, Callable[[Path], None]], Path]
Interfaces = Callable[..., AbstractContextManager[None]]
