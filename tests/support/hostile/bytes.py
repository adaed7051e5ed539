"""Files that are no ONNX, or far too much of it: bombs of a few bytes, and random damage to a level's file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence


def varint(value: int) -> bytes:
    """A number as protocol buffers write it."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def message(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def _nested(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph in an attribute of …"""
    data = b""
    for _ in range(depth):
        data = message(1, message(5, message(6, data)))
    return data


# Of a few megabytes at most; what a reader would build of them takes far more.
BOMBS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "two million nodes": (lambda d: message(7, b"\x0a\x00" * 2_000_000), "no op_type|more than 10000"),
    "two million constants": (lambda d: message(7, b"\x2a\x00" * 2_000_000), "more than 20000"),
    "two million sparse": (lambda d: message(7, b"\x7a\x00" * 2_000_000), "more than 20000"),
    "two million entries": (lambda d: b"\x72\x00" * 2_000_000, "more than 16"),
    "two million functions": (lambda d: b"\xca\x01\x00" * 1_000_000, "more than 2 functions"),
    "two million opsets": (lambda d: b"\x42\x00" * 2_000_000, "more than 3 opsets"),
    "two million shapes": (lambda d: d + message(7, message(11, b"\x12\x00" * 2_000_000)), "twice"),
    "two million sizes": (lambda d: message(7, message(5, b"\x08\x01" * 2_000_000)), "more than 5 dims"),
    "packed sizes": (lambda d: message(7, message(5, message(1, b"\x01" * 4_000_000))), "in a form"),
    "packed ints": (lambda d: message(7, message(1, message(5, message(8, b"\x01" * 4_000_000)))), "in a form"),
    "packed floats": (lambda d: message(7, message(1, message(5, message(7, b"\0" * 4_000_000)))), "another kind"),
    "strings in an attribute": (lambda d: message(7, message(1, message(5, b"\x4a\x00" * 10**6))), "another kind"),
    # What is within an attribute is not read before all else is right.
    "nested a thousand deep": (lambda d: message(7, _nested(1_000)), "IR version"),
    "nested fifty thousand deep": (lambda d: message(7, _nested(50_000)), "IR version"),
    "groups of the wire": (lambda d: b"\x3b" * 10**6, "in a form"),
    "nested groups of no field": (lambda d: b"\x7b" * 10**6, "unknown field"),
    "field 0": (lambda d: b"\x00\x00" + d, "unknown field 0"),
    "unknown field": (lambda d: d + message(1000, b"x" * 10**6), "unknown field 1000"),
    "number without end": (lambda d: b"\x08" + b"\x80" * 10**6, "too long"),
    "number of 70 bits": (lambda d: b"\x08" + b"\xff" * 9 + b"\x7f", "too long"),
    "number in ten bytes": (lambda d: b"\x08\x8a" + b"\x80" * 8 + b"\x00", "too long"),
    "length beyond the end": (lambda d: b"\x3a" + varint(2**40) + b"x", "cut off"),
    "negative length": (lambda d: b"\x3a" + varint(2**64 - 1) + b"x", "cut off"),
    "cut": (lambda d: d[: len(d) // 2], "cut off"),
    "cut at the end": (lambda d: d[:-1], "cut off|twice|function"),
    "followed by zeros": (lambda d: d + b"\0" * 100, "unknown field 0"),
    "followed by itself": (lambda d: d + d, "twice"),
    "followed by another graph": (lambda d: d + message(7, b""), "twice"),
    "followed by another version": (lambda d: d + b"\x08\x0a", "twice"),
    "number for a graph": (lambda d: b"\x38\x01", "in a form"),
    "bytes for a number": (lambda d: b"\x0a\x01\x0a", "in a form"),
    "fixed for a number": (lambda d: b"\x09" + b"\0" * 8, "in a form"),
    "names that are no text": (lambda d: message(7, message(2, b"\xff\xfe")), "no text"),
    "nothing": (lambda d: b"\n", "no ONNX model"),
    "zeros": (lambda d: b"\0" * 10**6, "unknown field 0"),
    "text": (lambda d: b"{}" * 1000, "no ONNX model"),
    "compressed": (lambda d: b"\x1f\x8b\x08\x00" + d, "no ONNX model"),
    "archive": (lambda d: b"PK\x03\x04" + d, "no ONNX model"),
}


def bombs(data: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Name, bytes and what the refusal must name, of every file of these; some begin with a level's file."""
    for name, (build, says) in BOMBS.items():
        yield name, build(data), says


def mutated(data: bytes, values: Sequence[range], count: int, seed: int) -> Iterator[tuple[str, bytes, bool]]:
    """Name, bytes and whether values of a tensor changed: one to three bytes set, cut out or put in, or bits flipped.

    Half of them outside of `values`, the parts of the file that are values of tensors.
    """
    generator = random.Random(seed)
    inside = bytearray(len(data))
    for each in values:
        inside[each.start : each.stop] = b"\1" * len(each)
    outside = [place for place in range(len(data)) if not inside[place]]
    for number in range(count):
        changed, touched = bytearray(data), False
        for _ in range(generator.randint(1, 3)):
            place = generator.choice(outside) if number % 2 else generator.randrange(len(data))
            touched = touched or bool(inside[place])
            kind = generator.choice(("flip", "set", "remove", "insert")) if number % 4 else "flip"
            if kind == "flip":
                changed[place] ^= 1 << generator.randrange(8)
            elif kind == "set":
                changed[place] = generator.randrange(256)
            elif kind == "remove":
                del changed[place]
            else:
                changed.insert(place, generator.randrange(256))
            if kind in ("remove", "insert"):
                break  # places behind it are others now
        yield f"mutation {number}", bytes(changed), touched
