"""Summarize the operations of a level's file for people; a random weight is part of the node that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_store.onnx_file.format import GAUSSIAN_WEIGHT
from model_store.onnx_file.reader import LevelFile, read_level_file


@dataclass(frozen=True)
class GraphNode:
    """An operation; `reads` are tensors of other nodes, `holds` its constants: name, shape, number of stored values."""

    operation: str
    makes: str
    reads: tuple[str, ...]
    holds: tuple[tuple[str, tuple[int, ...], int], ...]
    random: bool


def read_graph(data: bytes) -> list[GraphNode]:
    """Return the nodes in order; raise VerificationError for bytes that are no level's file."""
    return list(_nodes(read_level_file(data)))


def _nodes(file: LevelFile) -> Iterator[GraphNode]:
    drawn = {node.output: node.inputs for node in file.nodes if node.operation == GAUSSIAN_WEIGHT}
    for node in file.nodes:
        if node.operation == GAUSSIAN_WEIGHT:
            continue
        parts = [part for name in node.inputs for part in drawn.get(name, (name,))]
        held = [(name, file.tensors[name]) for name in parts if name in file.tensors]
        yield GraphNode(
            node.operation,
            node.output,
            tuple(name for name in parts if name not in file.tensors),
            tuple((name, tensor.shape, tensor.stored) for name, tensor in held),
            any(name in drawn for name in node.inputs),
        )
