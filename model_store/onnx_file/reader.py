"""Read and verify a level's file without onnx, so that onnx never sees any other file.

    protobuf   bytes to messages, with only the fields that a table allows
    schema     these tables
    frame      what surrounds the networks: versions, functions, the turns of a mixture's members
    tensors    constants, dense and sparse
    operators  the allowed operators, their attributes and shapes
    reader     the graph: every name unique and made before it is read, memory bounded, in agreement with its manifest

Values of tensors are not checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from model_store.errors import VerificationError
from model_store.manifest import Level, Manifest
from model_store.onnx_file import format as file_format
from model_store.onnx_file.frame import check_kind, member_graphs
from model_store.onnx_file.operators import AttributeValue, Operand, multiply_adds, operate, operations, working_bytes
from model_store.onnx_file.protobuf import required
from model_store.onnx_file.schema import MODEL
from model_store.onnx_file.tensors import FLOAT, FLOAT_BYTES, Tensor, read_tensors

UINT8 = 2
FLOAT_ATTRIBUTE, INT, INTS = 1, 2, 7
# Nodes of a graph; what optimises one takes time in the square of them: a second for these.
MAX_NODES = 4_096
# Limit for all tensors that a file declares, as dense ones, and for the activations of one batch at a time.
MAX_BYTES = 2**30


@dataclass(frozen=True)
class Node:
    """An operation that makes the tensor `output`."""

    operation: str
    domain: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, AttributeValue]


@dataclass(frozen=True)
class MemberGraph:
    """A network: nodes in order, the last of which makes `logits`, and constants by name.

    `operations` are its multiply-adds and what all other operators read and make, for one draw of one image.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    multiply_adds: int
    operations: int


@dataclass(frozen=True)
class LevelFile:
    """A verified level's file: the network of each member, one where it is no mixture, and metadata as written.

    It takes uint8 `images` [N, *image_shape], and returns float32 `logits` [N, num_classes].
    """

    members: tuple[MemberGraph, ...]
    image_shape: tuple[int, ...]
    num_classes: int
    metadata: Mapping[str, str]

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one draw of one image, the mean over members, rounded down."""
        return sum(member.multiply_adds for member in self.members) // len(self.members)

    @property
    def operations(self) -> int:
        """Return the operations of one draw of one image, the most of any member."""
        return max(member.operations for member in self.members)


def read_level_file(data: bytes, max_bytes: int = MAX_BYTES, batch: int = 1) -> LevelFile:
    """Read a file that may declare tensors of `max_bytes`, and need as many again for the activations of a batch.

    Raises VerificationError, with the reason, for anything but a level's file.
    """
    if len(data) > max_bytes:
        raise VerificationError(f"the file has more than the {max_bytes} bytes that are allowed")
    model = MODEL.read(memoryview(data))
    graph = required(model, "graph", "the file")
    check_kind(model)
    image_shape = _port(graph["inputs"], file_format.IMAGES, UINT8, 4)
    (num_classes,) = _port(graph["outputs"], file_format.LOGITS, FLOAT, 2)
    members: list[MemberGraph] = []
    nodes, tensor_bytes = 0, 0
    for each in member_graphs(model):
        nodes += len(each["nodes"])
        if nodes > MAX_NODES:
            raise VerificationError(f"the file has {nodes:,} nodes, more than {MAX_NODES:,}")
        tensors = read_tensors(each)
        tensor_bytes += FLOAT_BYTES * sum(prod(tensor.shape) for tensor in tensors.values())
        if tensor_bytes > max_bytes:
            raise VerificationError(f"the file declares tensors of {tensor_bytes:,} bytes, more than {max_bytes:,}")
        members.append(_member(tuple(map(_node, each["nodes"])), tensors, image_shape, num_classes, max_bytes // batch))
    return LevelFile(tuple(members), image_shape, num_classes, _metadata(model))


def _member(
    nodes: tuple[Node, ...],
    tensors: Mapping[str, Tensor],
    image_shape: tuple[int, ...],
    num_classes: int,
    max_bytes: int,
) -> MemberGraph:
    """Check the graph of a member, which may need `max_bytes` of memory per image."""
    checked = _GraphCheck.of(nodes, tensors, image_shape, max_bytes)
    if checked.logits != Operand("activation", (num_classes,)):
        raise VerificationError(f"the file does not make float32 logits [N, {num_classes}] as it says")
    return MemberGraph(nodes, tensors, *checked.cost)


def check_agreement(file: LevelFile, manifest: Manifest, level: Level) -> None:
    """Raise VerificationError where a file contradicts its manifest."""
    theirs = manifest.input
    if (file.image_shape, file.num_classes) != ((theirs.height, theirs.width, theirs.channels), len(manifest.classes)):
        raise VerificationError(f"the file of level {level.name} has other images or classes than its manifest")
    if len(file.members) != level.members:
        raise VerificationError(
            f"the file of level {level.name} has {len(file.members)} members, its manifest says {level.members}"
        )
    if file.multiply_adds != level.multiply_adds:
        raise VerificationError(
            f"the file of level {level.name} takes {file.multiply_adds:,} multiply-adds, "
            f"its manifest says {level.multiply_adds:,}"
        )
    version, schema = manifest.files_of
    says = {"model": manifest.model, "version": version, "level": level.name, "manifest_schema": str(schema)}
    for key, value in says.items():
        found = file.metadata.get(f"{file_format.METADATA_PREFIX}{key}")
        if found != value:
            raise VerificationError(f"the file of level {level.name} says that its {key} is {found}, not {value}")


def _node(node: Mapping[str, Any]) -> Node:
    operation = required(node, "op_type", "a node")
    if len(node["outputs"]) != 1:
        raise VerificationError(f"the file has a {operation} with more or fewer outputs than one")
    attributes = dict(map(_attribute, node["attributes"]))
    if len(attributes) < len(node["attributes"]):
        raise VerificationError(f"the file has a {operation} with an attribute twice")
    return Node(operation, node.get("domain", ""), node["inputs"], node["outputs"][0], attributes)


def _attribute(attribute: Mapping[str, Any]) -> tuple[str, AttributeValue]:
    if "graph" in attribute:
        raise VerificationError("an attribute has a graph inside it, which no level needs")
    name, kind = (required(attribute, part, "an attribute") for part in ("name", "type"))
    given: dict[int, AttributeValue | None] = {
        FLOAT_ATTRIBUTE: attribute.get("f"),
        INT: attribute.get("i"),
        INTS: attribute["ints"] or None,
    }
    value = given.pop(kind, None)
    if value is None or any(other is not None for other in given.values()):
        raise VerificationError(f"the file has an attribute {name} that is neither a number nor a list of integers")
    return name, value


def _port(ports: tuple[Mapping[str, Any], ...], name: str, kind: int, rank: int) -> tuple[int, ...]:
    """Return the shape of the only input or output, without the number of images."""
    (port,) = ports if len(ports) == 1 else ({},)
    found = port.get("type", {}).get("tensor_type", {})
    sizes = [dim.get("dim_value") for dim in found.get("shape", {"dim": ()})["dim"]]
    shape = tuple(size for size in sizes[1:] if size is not None and 0 < size < 2**31)
    if (port.get("name"), found.get("elem_type"), len(shape), sizes[:1]) != (name, kind, rank - 1, [None]):
        raise VerificationError(
            "the file must take images as uint8 [N, H, W, C]"
            if name == file_format.IMAGES
            else "the file must give logits as float32 [N, K]"
        )
    return shape


def _metadata(model: Mapping[str, Any]) -> dict[str, str]:
    metadata = {entry.get("key", ""): entry.get("value", "") for entry in model["metadata"]}
    if len(metadata) < len(model["metadata"]):
        raise VerificationError("the file has a metadata key twice")
    return metadata


@dataclass
class _GraphCheck:
    """Shapes and cost of a graph, followed from the images on."""

    known: dict[str, Operand]
    multiply_adds: int = 0
    operations: int = 0

    @classmethod
    def of(
        cls, nodes: tuple[Node, ...], tensors: Mapping[str, Tensor], image_shape: tuple[int, ...], max_bytes: int
    ) -> _GraphCheck:
        """Follow the nodes in order; each must find its inputs made, and memory is limited to `max_bytes` per image."""
        if file_format.IMAGES in tensors:
            raise VerificationError(f"the file has two tensors {file_format.IMAGES!r}")
        constants = {name: Operand("constant", tensor.shape) for name, tensor in tensors.items()}
        checked = cls(constants | {file_format.IMAGES: Operand("images", image_shape)})
        last = {name: number for number, node in enumerate(nodes) for name in node.inputs}
        alive = 0
        for number, node in enumerate(nodes):
            made = checked._make(node)
            alive += _bytes(made)
            needed = alive + working_bytes(node.operation, made)
            if needed > max_bytes:
                raise VerificationError(f"the file needs {needed:,} bytes for one image, more than {max_bytes:,}")
            alive -= sum(_bytes(checked.known[name]) for name in set(node.inputs) if last[name] == number)
        if unread := sorted(checked.known.keys() - last.keys() - {file_format.LOGITS}):
            raise VerificationError(f"the file has a tensor {unread[0]!r} that nothing reads")
        return checked

    @property
    def cost(self) -> tuple[int, int]:
        """Return the multiply-adds, and all operations."""
        return self.multiply_adds, self.operations

    @property
    def logits(self) -> Operand | None:
        """Return the output, if the graph makes it."""
        return self.known.get(file_format.LOGITS)

    def _make(self, node: Node) -> Operand:
        for name in node.inputs:
            if name not in self.known:
                raise VerificationError(f"the file reads a tensor {name!r} before any node makes it")
        if not node.output or node.output in self.known:
            raise VerificationError(f"the file has two tensors {node.output!r}")
        operands = [self.known[name] for name in node.inputs]
        made = self.known[node.output] = operate(node.domain, node.operation, operands, node.attributes)
        self.multiply_adds += multiply_adds(node.operation, operands, made)
        self.operations += operations(node.operation, operands, made, node.attributes)
        return made


def _bytes(operand: Operand) -> int:
    return FLOAT_BYTES * prod(operand.shape) if operand.kind == "activation" else 0
