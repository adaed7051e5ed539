"""Count responses to damaged PNG, JPEG and WebP over HTTP, and the memory that the service keeps afterwards.

    python -m benchmarks.serving.fuzz --count 10000 --json docs/results/fuzz.json

A service in a process of its own serves the zoo. Images of many kinds are damaged in a few places each: bytes are
changed, inserted, removed or repeated; half of the PNGs get checksums that fit the damage, so that the decoder meets
it. Memory is the resident set, after a first tenth of the images and at the end.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from PIL import Image

SIDE = 48
MOST_DAMAGES = 5
PNG_START = 8
Picture = tuple[str, bytes]


def originals() -> list[Picture]:
    """Return media types and bytes of intact images of many kinds."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    smooth = Image.merge(
        "RGB", [Image.linear_gradient("L").resize((SIDE, SIDE)).rotate(90 * turn) for turn in range(3)]
    )
    veiled = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "a camera", 72.5
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("png", smooth, {"exif": exif}),
        ("png", veiled, {}),
        ("png", smooth.quantize(16), {"transparency": 3}),
        ("png", smooth.convert("L"), {"transparency": 7}),
        ("png", smooth.convert("1"), {}),
        ("png", Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {}),
        ("png", smooth, {"save_all": True, "append_images": [veiled.convert("RGB")]}),
        ("jpeg", smooth, {"exif": exif}),
        ("jpeg", smooth, {"progressive": True}),
        ("jpeg", smooth.convert("L"), {"restart_marker_blocks": 2}),
        ("jpeg", smooth.convert("CMYK"), {"subsampling": 0}),
        ("webp", smooth, {"exif": exif}),
        ("webp", veiled, {"lossless": True}),
        ("webp", veiled, {"quality": 40}),
        ("webp", smooth, {"save_all": True, "append_images": [veiled.convert("RGB")]}),
    ]
    return [(f"image/{kind}", _encoded(image, kind, options)) for kind, image, options in made]


def _encoded(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mutants(whole: list[Picture], seed: int, count: int) -> Iterator[Picture]:
    """Yield damaged images, the same for the same seed."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        kind, data = whole[number % len(whole)]
        damaged = bytearray(data)
        for _ in range(generator.integers(1, MOST_DAMAGES + 1)):
            _damage(damaged, generator)
        if kind == "image/png" and generator.integers(2):
            damaged = _with_checksums(damaged)
        yield kind, bytes(damaged)


def _damage(data: bytearray, generator: np.random.Generator) -> None:
    """Change, truncate, remove, repeat or insert some bytes; changes are the most frequent."""
    at, length = int(generator.integers(len(data) + 1)), int(generator.integers(1, 64))
    way = generator.integers(10)
    if way == 0:
        del data[max(at, 1) :]
    elif way == 1:
        del data[at : at + length]
    elif way == 2:
        data[at:at] = data[at : at + length]
    elif way == 3:
        data[at:at] = generator.bytes(length)
    elif way == 4:
        data[at : at + 4] = struct.pack(">I", int(generator.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1])))
    else:
        data[at : at + 1] = generator.bytes(1)


def _with_checksums(data: bytearray) -> bytearray:
    """Recompute the checksum of every chunk of a PNG, as far as its chunks can be parsed."""
    at = PNG_START
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


def _resident(pid: int) -> float:
    """Return the resident set of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def bombard(url: str, pid: int, seed: int, count: int) -> dict[str, Any]:
    """Post damaged images; return the responses by kind, and the memory before and after."""
    statuses: dict[str, Counter[int]] = {}
    before = 0.0
    with httpx.Client(base_url=url, timeout=60) as client:
        for number, (kind, data) in enumerate(mutants(originals(), seed, count)):
            if number == count // 10:
                before = _resident(pid)
            response = client.post("/predict", params={"samples": 1}, content=data, headers={"content-type": kind})
            statuses.setdefault(kind, Counter())[response.status_code] += 1
    return {
        "seed": seed,
        "statuses": {kind: dict(sorted(found.items())) for kind, found in statuses.items()},
        "memory_mib": {"before": before, "after": _resident(pid)},
    }


def main(
    count: Annotated[int, typer.Option(min=10, help="Damaged pictures.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the damage.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Fuzz a service and print the counts."""
    command = [sys.executable, "-m", "service", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = next(line for line in process.stdout if "http://" in line)
            url = re.findall(r"http://[\d.]+:\d+", found)[0]
            figures = bombard(url, process.pid, seed, count)
            assert process.poll() is None, "the service ended"
        finally:
            process.terminate()
    seen = sorted({status for each in figures["statuses"].values() for status in each})
    lines = ["| | " + " | ".join(map(str, seen)) + " |", "|---|" + "--:|" * len(seen)]
    for kind, statuses in figures["statuses"].items():
        lines.append(f"| {kind} | " + " | ".join(str(statuses.get(status, 0)) for status in seen) + " |")
    memory = figures["memory_mib"]
    lines += ["", f"Memory: {memory['before']:.1f} MiB before, {memory['after']:.1f} MiB after."]
    print("\n".join(lines))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
        json_file.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
