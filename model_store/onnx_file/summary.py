"""Summarize the operations of a level's file for people; a random weight is part of the node that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_store.onnx_file.format import GAUSSIAN_WEIGHT, IMAGES, member_prefix
from model_store.onnx_file.reader import MemberGraph, read_level_file


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
    members = read_level_file(data).members
    prefixes = [member_prefix(number) if len(members) > 1 else "" for number in range(len(members))]
    return [node for prefix, member in zip(prefixes, members, strict=True) for node in _nodes(member, prefix)]


def _nodes(member: MemberGraph, prefix: str) -> Iterator[GraphNode]:
    drawn = {node.output: node.inputs for node in member.nodes if node.operation == GAUSSIAN_WEIGHT}
    for node in member.nodes:
        if node.operation == GAUSSIAN_WEIGHT:
            continue
        parts = [part for name in node.inputs for part in drawn.get(name, (name,))]
        held = [(name, member.tensors[name]) for name in parts if name in member.tensors]
        yield GraphNode(
            node.operation,
            f"{prefix}{node.output}",
            tuple(name if name == IMAGES else f"{prefix}{name}" for name in parts if name not in member.tensors),
            tuple((f"{prefix}{name}", tensor.shape, tensor.stored) for name, tensor in held),
            any(name in drawn for name in node.inputs),
        )
