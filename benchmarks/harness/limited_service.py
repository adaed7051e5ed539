"""Run `slimbayes serve` in a control group, and look at its memory."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx

from benchmarks.harness.control_groups import ControlGroup

START_S, STOP_S, WARM_REQUESTS = 60.0, 30.0, 20
# Parts of the memory that the service accounts for; their sum is compared with what is resident.
MEMORY_METRICS = re.compile(r"^slimbayes_memory_bytes(?:\{[^}]*\})? ([\d.e+]+)$", re.MULTILINE)


class LimitedService:
    """A service in a control group, on a port of its own."""

    def __init__(self, group: ControlGroup, log: Path, picture: bytes, *flags: str) -> None:
        """Start it with the zoo, and ask it for a picture until its networks are built."""
        command = group.command(sys.executable, "-m", "service", "--store", "zoo", "--port", "0", *flags)
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        assert self.process.stdout is not None
        found = next(filter(None, (re.search(r"http://([\d.]+):(\d+)", line) for line in self.process.stdout)))
        self.url, self.address = found.group(), (found[1], int(found[2]))
        end = time.monotonic() + START_S
        while httpx.get(f"{self.url}/readyz", trust_env=False).status_code != 200:
            if time.monotonic() > end:
                raise RuntimeError(f"the service is not ready after {START_S:g} s: see {log}")
            time.sleep(0.05)
        for _ in range(WARM_REQUESTS):
            httpx.post(f"{self.url}/predict", content=picture, headers={"Content-Type": "image/png"}, trust_env=False)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def ends_within(self, seconds: float) -> bool:
        """Return whether the process has ended, or does so soon: one that is killed takes a moment."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def memory_bytes(self, name: str) -> int:
        """Return a figure of the process's memory, such as VmRSS; zero once it has ended."""
        try:
            found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        except OSError:
            found = None
        return int(found[1]) * 1024 if found else 0

    def reset_peak(self) -> None:
        """Let VmHWM count from now on."""
        if self.is_alive():
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def accounted_bytes(self) -> float:
        """Return the sum of the parts of memory that the service tells of."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=60).text
        return sum(float(value) for value in MEMORY_METRICS.findall(text))

    def stop(self) -> None:
        """End it, at once if it does not within its drain."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
