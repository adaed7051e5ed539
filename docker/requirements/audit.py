"""Known vulnerabilities of what the images install, by pip-audit; that nobody could be asked is no good news."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# torch-cpu.txt is the version of torch-cuda.txt, under a name that no service knows.
FILES = [Path(__file__).with_name(f"{name}.txt") for name in ("build", "serve", "train", "torch-cuda")]
# Why a known vulnerability does not concern us, by its identifier.
ACCEPTED: dict[str, str] = {}


def ask() -> list[dict[str, Any]]:
    """What the service says of each package; nothing where it could not be asked."""
    options = ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    named = [word for file in FILES for word in ("--requirement", str(file))]
    done = subprocess.run([sys.executable, "-m", "pip_audit", *options, *named], capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return []
    return found


def report(packages: list[dict[str, Any]]) -> tuple[bool, list[str]]:
    """Whether there is a reason to stop, and what to say, line by line."""
    # An index that has packages but no word on their vulnerabilities has them all skipped, and pip-audit is content.
    if all("skip_reason" in package for package in packages):
        return False, ["NOT AUDITED: no service that knows vulnerabilities could be reached"]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none'}"
        for package in packages
        for fault in package.get("vulns", ())
        if fault["id"] not in ACCEPTED
    ]
    skipped = [f"not audited: {package['name']}" for package in packages if "skip_reason" in package]
    return bool(faults), [f"{len(packages)} packages, {len(faults)} vulnerabilities", *faults, *skipped]


if __name__ == "__main__":
    stop, lines = report(ask())
    print(*lines, sep="\n")
    sys.exit(stop)
