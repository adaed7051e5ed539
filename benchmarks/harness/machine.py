"""Tell where and of what figures were measured: commit, date, processor and memory."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, Any]:
    """Return the commit, marked if files are changed, the time, and what the machine has; `text` is one line of it."""
    found: dict[str, Any] = {
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _field("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_field("/proc/meminfo", r"MemTotal:\s+(\d+)") or 0) / 2**20),
        "python": platform.python_version(),
    }
    cores, memory = f"{found['cores']} cores", f"{found['memory_gib']} GiB"
    text = f"Commit {found['commit']}, {found['date'][:10]}, {found['processor']}, {cores}, {memory}."
    return found | {"text": text}


def _commit() -> str:
    command = ["git", "describe", "--match=", "--always", "--abbrev=12", "--dirty"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _field(file: str, pattern: str) -> str | None:
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return None
    return found[1].strip() if found else None
