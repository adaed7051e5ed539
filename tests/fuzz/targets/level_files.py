"""Files of levels: read to a graph that ONNX takes, or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.errors import VerificationError
from model_store.onnx_file import format as file_format
from service.errors import ArtifactError
from service.inference.artifact import read_artifact
from service.inference.graph import with_constants
from tests.fuzz.oracle import MIB, Cost, Target
from tests.support.hostile.bytes import bombs, message, varint
from tests.support.hostile.models import CRAFTED
from tests.support.hostile.pictures.mutations import damage

NUMBERS = (0, 1, 2, 3, 7, 16, 127, 128, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**64 - 1)
MAX_SEED_BYTES, MAX_DEPTH = 5_000, 12
# Constants of a normalisation in the small level.
NORM = ("8.factor", "8.shift")
# Messages of Python for fields of two bytes.
BYTES_PER_BYTE = 500


class LevelFiles(Target):
    cpu_s_per_kib = 0.01
    distinct = True

    def run(self, data: bytes) -> str:
        try:
            artifact = read_artifact(data)
        except (VerificationError, ArtifactError) as error:
            return f"{type(error).__name__} {error}"
        read = hashlib.sha256()
        for member in artifact.members:
            whole = with_constants(member.graph, {each.name: each.mean for each in member.weights})
            onnx.checker.check_model(whole)
            read.update(whole.SerializeToString(deterministic=True))
        return f"read {read.hexdigest()}"

    def budget(self, data: bytes) -> Cost:
        return Cost(super().budget(data).cpu_s, 16 * MIB + BYTES_PER_BYTE * len(data))

    def mutate(self, data: bytes, random: Random) -> bytes:
        """Another number, text or message in one field, with lengths around it that fit."""
        return _changed(data, random, MAX_DEPTH) if random.random() < 0.8 else damage(data, random)

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        whole = small_level()
        yield "whole.onnx", whole
        for name, data in (*_crafted(whole), *((name, data) for name, data, _ in bombs(whole))):
            if len(data) <= MAX_SEED_BYTES:
                yield f"{''.join(c if c.isalnum() else '-' for c in name)}.onnx", data


def _crafted(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """The changes that can be made to so small a level."""
    for name, (change, _) in CRAFTED.items():
        model = onnx.load_model_from_string(whole)
        with suppress(StopIteration, IndexError):
            change(model)
            yield name, model.SerializeToString(deterministic=True)


def small_level() -> bytes:
    """A level of few layers of most kinds, one of them random, for images of 8 x 8 pixels and three classes."""
    random = np.random.default_rng(0)
    shapes = {"pixels.factor": (3,), "pixels.shift": (3,), "0.weight": (4, 3, 3, 3), "0.bias": (4,)}
    shapes |= {"3.bias": (4,), "14.mean": (3, 8), "14.scale": (3, 8), "14.bias": (3,)}
    shapes |= {"4.weight": (4, 1, 3, 3), "4.bias": (4,), "5.factor": (4,), "5.shift": (4,), "6.low": (), "6.high": ()}
    shapes |= {"8.factor": (8,), "8.shift": (8,)}
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels.float", "pixels.factor"], ["pixels.scaled"]),
        helper.make_node("Add", ["pixels.scaled", "pixels.shift"], ["pixels.normalised"]),
        helper.make_node("Transpose", ["pixels.normalised"], ["pixels"], perm=(0, 3, 1, 2)),
        helper.make_node("Conv", ["pixels", "0.weight", "0.bias"], ["0"], pads=[1] * 4, strides=[1, 1]),
        helper.make_node("Relu", ["0"], ["relu"]),
        helper.make_node("Conv", ["relu", "3.weight", "3.bias"], ["3"], pads=[0] * 4, strides=[2, 2]),
        helper.make_node(
            "Conv", ["3", "4.weight", "4.bias"], ["4"], pads=[2] * 4, strides=[1, 1], group=4, dilations=[2, 2]
        ),
        helper.make_node("GroupNormalization", ["4", "5.factor", "5.shift"], ["5"], num_groups=2, epsilon=1e-5),
        helper.make_node("Clip", ["5", "6.low", "6.high"], ["6"]),
        helper.make_node("Concat", ["6", "3"], ["7"], axis=1),
        helper.make_node("Transpose", ["7"], ["8.turned"], perm=(0, 2, 3, 1)),
        helper.make_node(
            "LayerNormalization", ["8.turned", "8.factor", "8.shift"], ["8.normed"], axis=-1, epsilon=1e-6
        ),
        helper.make_node("Transpose", ["8.normed"], ["8"], perm=(0, 3, 1, 2)),
        helper.make_node(
            "AveragePool", ["8"], ["9"], kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, count_include_pad=0
        ),
        helper.make_node("GlobalAveragePool", ["9"], ["10"]),
        helper.make_node("HardSigmoid", ["10"], ["11"], **file_format.HARD_SIGMOID),
        helper.make_node("Mul", ["9", "11"], ["12"]),
        helper.make_node("GlobalAveragePool", ["12"], ["pooled"]),
        helper.make_node("Gelu", ["pooled"], ["13"]),
        helper.make_node("Flatten", ["13"], ["flat"]),
        helper.make_node("GaussianWeight", ["14.mean", "14.scale"], ["14.weight"], domain=file_format.DOMAIN),
        helper.make_node("Gemm", ["flat", "14.weight", "14.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "level",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(random.random(shape, np.float32), name) for name, shape in shapes.items()],
        sparse_initializer=[_sparse("3.weight", (4, 4, 2, 2), (0, 7, 21, 40, 63))],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in file_format.OPSETS.items()]
    body = [helper.make_node(kind, inputs, outputs) for kind, inputs, outputs in file_format.GAUSSIAN_WEIGHT_BODY]
    ports = file_format.GAUSSIAN_WEIGHT_INPUTS, file_format.GAUSSIAN_WEIGHT_OUTPUTS
    function = helper.make_function(file_format.DOMAIN, file_format.GAUSSIAN_WEIGHT, *ports, body, opsets[:1])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=file_format.IR_VERSION, functions=[function])
    says = {"model": "small", "version": "20261123-120000-000000", "level": "p90", "manifest_schema": "3"}
    helper.set_model_props(model, {f"{file_format.METADATA_PREFIX}{key}": value for key, value in says.items()})
    data: bytes = model.SerializeToString()
    return data


def _sparse(name: str, shape: Sequence[int], places: Sequence[int]) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.linspace(-1, 1, len(places), dtype=np.float32), name)
    indices = numpy_helper.from_array(np.array(places, np.int64), f"{name}.places")
    return helper.make_sparse_tensor(values, indices, shape)


Field = tuple[int, int, int | bytes]


def _fields(data: bytes) -> list[Field] | None:
    """Number, wire type and value of each field of a message; None for what is none."""
    fields, place = list[Field](), 0
    while place < len(data):
        key, place = _number(data, place)
        if key >> 3 == 0 or key & 7 not in (0, 1, 2, 5):
            return None
        if key & 7 == 0:
            value, place = _number(data, place)
            fields.append((key >> 3, 0, value))
            continue
        size, place = _number(data, place) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], place)
        if place + size > len(data):
            return None
        fields.append((key >> 3, key & 7, data[place : place + size]))
        place += size
    return fields


def _number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        value |= (data[place] & 127) << shift
        shift, place = shift + 7, place + 1
        if data[place - 1] < 128:
            break
    return value, place


def _changed(data: bytes, random: Random, depth: int) -> bytes:
    """The message with one field of it, or of a message in it, changed, removed, repeated or moved."""
    fields = _fields(data)
    if not fields or depth == 0:
        return damage(data, random)
    place, way = random.randrange(len(fields)), random.randrange(12)
    number, kind, value = fields[place]
    if way == 0:
        del fields[place]
    elif way == 1:
        fields.insert(random.randrange(len(fields) + 1), fields[place])
    elif way == 2:
        fields[place] = random.choice((number + 1, number - 1 or 1, random.randint(1, 30))), kind, value
    elif isinstance(value, int):
        fields[place] = number, kind, random.choice((*NUMBERS, value + 1, max(0, value - 1)))
    else:
        fields[place] = number, kind, _changed(value, random, depth - 1) if kind == 2 else random.randbytes(len(value))
    return b"".join(map(_written, fields))


def _written(field: Field) -> bytes:
    number, kind, value = field
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return message(number, value) if kind == 2 else varint(number << 3 | kind) + value
