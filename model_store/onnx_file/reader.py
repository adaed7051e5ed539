"""Read and verify a level's file without onnx, so that onnx never sees any other file.

    protobuf   bytes to messages, with only the fields that a table allows
    schema     these tables
    operators  the allowed operators, their attributes and shapes
    reader     the graph: every name unique and made before it is read, memory bounded, in agreement with its manifest

Values of tensors are not checked here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from model_store.errors import VerificationError
from model_store.manifest import Level, Manifest
from model_store.onnx_file import format as file_format
from model_store.onnx_file.operators import Operand, multiply_adds, operate, operations
from model_store.onnx_file.protobuf import malformed
from model_store.onnx_file.schema import MODEL

UINT8, FLOAT, INT64 = 2, 1, 7
FLOAT_BYTES, INDEX_BYTES = 4, 8
INT, INTS = 2, 7
# Nodes of a graph; what optimises one takes time in the square of them: a second for these.
MAX_NODES = 4_096
# Limit for all tensors that a file declares, as dense ones, and for the activations of one batch at a time.
MAX_BYTES = 2**30


@dataclass(frozen=True)
class Tensor:
    """A constant float32 of `shape`: `values` little-endian, sparse at `places` of the flattened tensor, or dense.

    `places` are int64, little-endian, as many as there are values.
    """

    shape: tuple[int, ...]
    values: memoryview
    places: memoryview | None = None

    @property
    def stored(self) -> int:
        """Return the number of values in the file."""
        return len(self.values) // FLOAT_BYTES


@dataclass(frozen=True)
class Node:
    """An operation that makes the tensor `output`."""

    operation: str
    domain: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, int | tuple[int, ...]]


@dataclass(frozen=True)
class LevelFile:
    """A verified level's file: nodes in order, constants by name, metadata as written.

    It takes uint8 `images` [N, *image_shape], and returns float32 `logits` [N, num_classes]. `operations` are its
    multiply-adds and what all other operators read and make, for one draw of one image.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    image_shape: tuple[int, ...]
    num_classes: int
    multiply_adds: int
    operations: int
    metadata: Mapping[str, str]


def read_level_file(data: bytes, max_bytes: int = MAX_BYTES, batch: int = 1) -> LevelFile:
    """Read a file that may declare tensors of `max_bytes`, and need as many again for the activations of a batch.

    Raises VerificationError, with the reason, for anything but a level's file.
    """
    if len(data) > max_bytes:
        raise VerificationError(f"the file has more than the {max_bytes} bytes that are allowed")
    model = MODEL.read(memoryview(data))
    graph = _part(model, "graph", "the file")
    _check_kind(model)
    if len(graph["nodes"]) > MAX_NODES:
        raise VerificationError(f"the file has {len(graph['nodes']):,} nodes, more than {MAX_NODES:,}")
    nodes = tuple(map(_node, graph["nodes"]))
    tensors = _tensors(graph, max_bytes)
    image_shape = _port(graph["inputs"], file_format.IMAGES, UINT8, 4)
    (num_classes,) = _port(graph["outputs"], file_format.LOGITS, FLOAT, 2)
    checked = _GraphCheck.of(nodes, tensors, image_shape, max_bytes // batch)
    if checked.logits != Operand("activation", (num_classes,)):
        raise VerificationError(f"the file does not make float32 logits [N, {num_classes}] as it says")
    return LevelFile(nodes, tensors, image_shape, num_classes, *checked.cost, _metadata(model))


def check_agreement(file: LevelFile, manifest: Manifest, level: Level) -> None:
    """Raise VerificationError where a file contradicts its manifest."""
    theirs = manifest.input
    if (file.image_shape, file.num_classes) != ((theirs.height, theirs.width, theirs.channels), len(manifest.classes)):
        raise VerificationError(f"the file of level {level.name} has other images or classes than its manifest")
    if file.multiply_adds != level.multiply_adds:
        raise VerificationError(
            f"the file of level {level.name} takes {file.multiply_adds:,} multiply-adds, "
            f"its manifest says {level.multiply_adds:,}"
        )
    says = {"model": manifest.model, "version": manifest.version, "level": level.name}
    for key, value in (says | {"manifest_schema": str(manifest.schema_version)}).items():
        found = file.metadata.get(f"{file_format.METADATA_PREFIX}{key}")
        if found != value:
            raise VerificationError(f"the file of level {level.name} says that its {key} is {found}, not {value}")


def _check_kind(model: Mapping[str, Any]) -> None:
    """Check IR version, opsets and the one allowed function."""
    if model.get("ir_version") != file_format.IR_VERSION:
        raise VerificationError(f"the file must have IR version {file_format.IR_VERSION}")
    _check_opsets(model["opsets"], file_format.OPSETS)
    for function in model["functions"]:
        _check_opsets(function["opsets"], {"": file_format.OPSETS[""]})
        body = tuple((each.get("op_type"), each["inputs"], each["outputs"]) for each in function["nodes"])
        plain = not any(each.get("domain") or each["attributes"] for each in function["nodes"])
        signature = function.get("domain"), function.get("name"), function["inputs"], function["outputs"]
        names = file_format.DOMAIN, file_format.GAUSSIAN_WEIGHT
        ports = file_format.GAUSSIAN_WEIGHT_INPUTS, file_format.GAUSSIAN_WEIGHT_OUTPUTS
        if signature != (*names, *ports) or not plain or body != file_format.GAUSSIAN_WEIGHT_BODY:
            raise VerificationError("the file has a function that does not draw a weight")
    if len(model["functions"]) != 1:
        raise VerificationError(f"the file must have one function, {file_format.DOMAIN}.{file_format.GAUSSIAN_WEIGHT}")


def _check_opsets(opsets: Iterable[Mapping[str, Any]], expected: Mapping[str, int]) -> None:
    found = Counter((each.get("domain", ""), each.get("version")) for each in opsets)
    if found != Counter(expected.items()):
        raise VerificationError("the file must import opset 21 and slimbayes 1, and nothing else")


def _node(node: Mapping[str, Any]) -> Node:
    operation = _part(node, "op_type", "a node")
    if len(node["outputs"]) != 1:
        raise VerificationError(f"the file has a {operation} with more or fewer outputs than one")
    attributes = dict(map(_attribute, node["attributes"]))
    if len(attributes) < len(node["attributes"]):
        raise VerificationError(f"the file has a {operation} with an attribute twice")
    return Node(operation, node.get("domain", ""), node["inputs"], node["outputs"][0], attributes)


def _attribute(attribute: Mapping[str, Any]) -> tuple[str, int | tuple[int, ...]]:
    name, kind = (_part(attribute, part, "an attribute") for part in ("name", "type"))
    single, several = attribute.get("i"), attribute["ints"]
    if kind == INT and single is not None and not several:
        return name, single
    if kind == INTS and single is None and several:
        return name, several
    raise VerificationError(f"the file has an attribute {name} that is neither an integer nor a list of integers")


def _tensors(graph: Mapping[str, Any], max_bytes: int) -> dict[str, Tensor]:
    """Return the constants by name, which may take `max_bytes` together."""
    named = [_dense(tensor) for tensor in graph["tensors"]] + [_sparse(sparse) for sparse in graph["sparse"]]
    tensors = dict(named)
    if len(tensors) < len(named):
        raise VerificationError("the file has two constants of one name")
    size = FLOAT_BYTES * sum(prod(tensor.shape) for tensor in tensors.values())
    if size > max_bytes:
        raise VerificationError(f"the file declares tensors of {size:,} bytes, more than {max_bytes:,}")
    return tensors


def _dense(tensor: Mapping[str, Any]) -> tuple[str, Tensor]:
    values = _raw(tensor, FLOAT, FLOAT_BYTES, _shape(tensor))
    return _name(tensor), Tensor(tensor["dims"], values)


def _sparse(sparse: Mapping[str, Any]) -> tuple[str, Tensor]:
    values, indices = (_part(sparse, part, "a sparse tensor") for part in ("values", "indices"))
    shape = _shape(sparse)
    if len(values["dims"]) != 1 or values["dims"] != indices["dims"] or not 0 <= values["dims"][0] <= prod(shape):
        raise VerificationError("the file has a sparse tensor whose values, places and shape do not match")
    parts = _raw(values, FLOAT, FLOAT_BYTES, values["dims"]), _raw(indices, INT64, INDEX_BYTES, indices["dims"])
    return _name(values), Tensor(shape, *parts)


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    shape: tuple[int, ...] = tensor["dims"]
    if not all(0 < size < 2**31 for size in shape):
        raise VerificationError("the file has a tensor with an invalid shape")
    return shape


def _raw(tensor: Mapping[str, Any], kind: int, size: int, shape: tuple[int, ...]) -> memoryview:
    """Return the bytes of a tensor after checking their type and number."""
    if tensor.get("data_type") != kind:
        raise VerificationError("the file has a tensor of another type than float32, or int64 for places")
    raw: memoryview = tensor.get("raw_data", memoryview(b""))
    if len(raw) != size * prod(shape):
        raise VerificationError("the file has a tensor with more or fewer bytes than its shape")
    return raw


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


def _name(message: Mapping[str, Any]) -> str:
    name: str = message.get("name", "")
    if not name:
        raise malformed("a tensor has no name")
    return name


def _part(message: Mapping[str, Any], part: str, what: str) -> Any:
    if part not in message:
        raise malformed(f"{what} has no {part}")
    return message[part]


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
            alive += _bytes(checked._make(node))
            if alive > max_bytes:
                raise VerificationError(f"the file needs {alive:,} bytes for one image, more than {max_bytes:,}")
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
