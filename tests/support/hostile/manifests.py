"""Manifests that nobody honest writes; each with what the refusal must name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
Build = Callable[[Document], bytes]


def with_value(*path: str | int, value: Any) -> Build:
    """The manifest with another value at a place."""

    def build(document: Any) -> bytes:
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return json.dumps(document).encode()

    return build


def with_text(old: str, new: str) -> Build:
    """The manifest's JSON with a part replaced as text."""
    return lambda document: json.dumps(document).replace(old, new, 1).encode("utf-8", "surrogatepass")


def deep(document: Document) -> bytes:
    """A value nested a hundred thousand deep."""
    document["training"]["hyperparameters"] = {"deep": "HERE"}
    return json.dumps(document).replace('"HERE"', "[" * 100_000 + "]" * 100_000).encode()


def many_faults(*path: str | int, each: Any, count: int) -> Build:
    """So many faulty values that telling of each would take gigabytes."""
    return with_value(*path, value=[each] * count)


def many_keys(*path: str | int, each: Any, count: int) -> Build:
    """The same under keys of their own."""
    return with_value(*path, value={str(number): each for number in range(count)})


LEVEL = ("levels", 0)
NAN = float("nan")
# The operator's limit holds anyway: it answers.
HARMLESS = "^$"
MANIFESTS: dict[str, tuple[Build, str]] = {
    "nothing": (lambda d: b" ", "not JSON"),
    "two gigabytes of nothing": (lambda d: b" " * 2**26, "more than 1,048,576 bytes"),
    "cut": (lambda d: json.dumps(d).encode()[:-5], "not JSON"),
    "followed by more": (lambda d: json.dumps(d).encode() + b"{}", "not JSON"),
    "of UTF-16": (lambda d: json.dumps(d).encode("utf-16"), "not JSON"),
    "with a byte order mark": (lambda d: b"\xef\xbb\xbf" + json.dumps(d).encode(), "not JSON"),
    "with a lone surrogate": (with_text("airplane", "\ud800"), "not JSON"),
    "a list": (lambda d: json.dumps([d]).encode(), "must be a JSON object"),
    "a text": (lambda d: json.dumps(json.dumps(d)).encode(), "must be a JSON object"),
    "nested": (deep, "not JSON|not valid"),
    "nested from the start": (lambda d: b"[" * 10**6, "not JSON"),
    "newer": (with_value("schema_version", value=10**30), "reads up to"),
    "older than any": (with_value("schema_version", value=-1), "schema_version"),
    "another model's": (with_value("model", value="other"), "is that of other"),
    "another version's": (with_value("version", value="20000101-000000-000000"), "is that of"),
    "model above": (with_value("model", value="../../etc"), "model"),
    "file above": (with_value(*LEVEL, "file", value="../../x"), "must be p90/model.onnx"),
    "absolute file": (with_value(*LEVEL, "file", value="/dev/zero"), "must be p90/model.onnx"),
    "level above": (with_value(*LEVEL, "name", value=".."), "name"),
    "bytes of a terabyte": (with_value(*LEVEL, "bytes", value=2**40), "bytes that are allowed"),
    "bytes beyond 64 bits": (with_value(*LEVEL, "bytes", value=10**30), "bytes that are allowed"),
    "other checksum": (with_value(*LEVEL, "sha256", value="0" * 64), "was altered"),
    "images of 10^18": (with_value("input", "height", value=10**9), "input.height"),
    "largest images": (with_value("input", "height", value=4096), "other images or classes"),
    "two channels": (with_value("input", "channels", value=2), "channels"),
    "no images": (with_value("input", "width", value=0), "input.width"),
    "more classes": (with_value("classes", value=[str(k) for k in range(11)]), "other images or classes"),
    "no classes": (with_value("classes", value=[]), "classes"),
    "half a million classes": (many_faults("classes", each=1, count=300_000), "classes"),
    "a class 100,000 times": (many_faults("classes", each="a", count=100_000), "two classes share a name"),
    "300,000 levels": (many_faults("levels", each={}, count=250_000), "levels"),
    "300,000 figures": (many_faults(*LEVEL, "reference", "entropy", each=7, count=300_000), "entropy"),
    "figures without end": (many_faults(*LEVEL, "reference", "entropy", each=0, count=300_000), "entropy"),
    "300,000 shared": (many_faults(*LEVEL, "shared", each=7, count=300_000), "shared"),
    "100,000 unknown keys": (lambda d: json.dumps(d | {str(n): 0 for n in range(90_000)}).encode(), "50,000 keys"),
    "40,000 unknown keys": (lambda d: json.dumps(d | {str(n): 0 for n in range(40_000)}).encode(), "more"),
    "40,000 roundings": (many_keys(*LEVEL, "roundings", each={}, count=40_000), "roundings"),
    "roundings of nothing": (many_keys(*LEVEL, "roundings", each={"scale": 1, "zero_point": 0}, count=9), "rounds a"),
    "40,000 quantiles": (
        many_keys(*LEVEL, "calibration", "conformal_quantiles", each=7, count=40_000),
        "conformal_quantiles",
    ),
    "rounding of nothing": (with_value(*LEVEL, "roundings", "pixels", "scale", value=0), "scale"),
    "negative rounding": (with_value(*LEVEL, "roundings", "pixels", "scale", value=-1), "scale"),
    "zero point": (with_value(*LEVEL, "roundings", "pixels", "zero_point", value=256), "zero_point"),
    "temperature zero": (with_value(*LEVEL, "calibration", "temperature", value=0), "temperature"),
    "infinite temperature": (with_value(*LEVEL, "calibration", "temperature", value=float("inf")), "temperature"),
    "temperature 10^-300": (with_value(*LEVEL, "calibration", "temperature", value=1e-300), "temperature"),
    "no number": (with_value(*LEVEL, "calibration", "abstain_above", value=NAN), "abstain_above"),
    "endless draws": (with_value(*LEVEL, "monte_carlo", "draws", value=10**18), HARMLESS),
    "no draws": (with_value(*LEVEL, "monte_carlo", "draws", value=0), "draws"),
    "accuracy of 2": (with_value(*LEVEL, "metrics", "accuracy", value=2), "accuracy"),
    "number beyond floats": (with_text('"world_size": ', '"world_size": 1e999, "x": '), "not JSON|not valid"),
    "other multiply-adds": (with_value(*LEVEL, "multiply_adds", value=1), "its manifest says 1"),
    "default that is not there": (with_value("default_level", value="p1"), "default_level"),
    "no level": (with_value("levels", value=[]), "levels"),
    "text for a level": (with_value("levels", value=["p90"]), "levels"),
    "task": (with_value("task", value="generation"), "task"),
    "created never": (with_value("created", value="2026-13-45T99:99:99Z"), "created"),
}
