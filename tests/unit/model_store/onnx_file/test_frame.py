"""The frame of a mixture: exactly as exporters write it, or refused with its reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from model_store.errors import VerificationError
from model_store.onnx_file import reader
from model_store.onnx_file.format import ELSE, MAX_MEMBERS, THEN
from model_store.onnx_file.reader import read_level_file
from pruning.graph.compaction import fold_and_compact
from pruning.graph.network import Network
from pruning.graph.onnx_export import export_onnx, to_bytes
from tests.support.same_draw import network_of, random_pixels, traced, without

Change = Callable[[onnx.ModelProto], object]


def member(seed: int) -> Network:
    plain, posterior = network_of("convnet", 3, seed=seed)
    network, pixels = traced(plain, posterior, random_pixels(3, 8)), random_pixels(3, 8)
    return fold_and_compact(traced(plain, without(network, posterior, "weight", 0.45 * seed), pixels))


@pytest.fixture(scope="module")
def members() -> list[Network]:
    """Dense and sparse ones."""
    return [member(seed) for seed in range(3)]


def branch(model: onnx.ModelProto, node: int, name: str) -> onnx.GraphProto:
    return next(each.g for each in model.graph.node[node].attribute if each.name == name)


def constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(each for each in model.graph.initializer if each.name == name)


def nested(model: onnx.ModelProto) -> None:
    branch(model, 2, THEN).node[0].attribute.append(helper.make_attribute("body", branch(model, 2, ELSE)))


def swapped(model: onnx.ModelProto) -> None:
    for each in model.graph.node[2].attribute:
        each.name = ELSE if each.name == THEN else THEN


CHANGES: dict[str, tuple[Change, str]] = {
    "another number": (lambda m: constant(m, "members.1").CopyFrom(floats("members.1", [2])), "not those of a mixture"),
    "numbers of more members": (lambda m: constant(m, "members").CopyFrom(floats("members", range(4))), "of a mixture"),
    "a constant of no member": (lambda m: m.graph.initializer.append(floats("member7.x", [0])), "of no member"),
    "no number": (lambda m: m.graph.initializer.remove(constant(m, "members.0")), "not those of a mixture"),
    "one member twice": (lambda m: m.graph.node[3].input.__setitem__(1, "members.0"), "no Equal that makes 'member.1'"),
    "a turn left out": (lambda m: m.graph.node.pop(), "a mixture of 2 to 16 members"),
    "turns in another order": (lambda m: m.graph.node.insert(1, m.graph.node.pop(2)), "no Equal that makes 'member.0'"),
    "another picker": (lambda m: setattr(m.graph.node[0], "op_type", "Choose"), "no PickMember that makes 'member'"),
    "no picking function": (lambda m: m.functions.pop(), "a graph inside it"),
    "another function": (lambda m: setattr(m.functions[1].node[1], "op_type", "ArgMin"), "nor then pick a member"),
    "the members swap branches": (swapped, "computes although it was not picked"),
    "one branch": (lambda m: m.graph.node[2].attribute.pop(), "without exactly its two branches"),
    "a branch twice": (lambda m: m.graph.node[2].attribute.append(m.graph.node[2].attribute[0]), "two branches"),
    "logits of before": (lambda m: branch(m, 4, ELSE).node[0].input.__setitem__(0, "nothing"), "no Identity"),
    "more than passing on": (lambda m: branch(m, 4, ELSE).node.append(branch(m, 4, ELSE).node[0]), "not picked"),
    "another member's tensor": (
        lambda m: branch(m, 2, THEN).node[1].input.__setitem__(1, "member1.pixels.factor"),
        "member0 with a tensor 'member1.pixels.factor' of another",
    ),
    "a tensor of the frame": (lambda m: branch(m, 2, THEN).node[1].input.__setitem__(1, "member"), "of another"),
    "other logits": (
        lambda m: setattr(branch(m, 2, THEN).output[0], "name", "member0.pixels"),
        "does not make member0",
    ),
    "constants in a branch": (
        lambda m: branch(m, 2, THEN).initializer.append(floats("x", [0])),
        "a branch has tensors",
    ),
    "inputs of a branch": (lambda m: branch(m, 2, THEN).input.append(m.graph.input[0]), "a branch has inputs"),
    "a graph in a branch": (nested, "a graph inside it"),
    "a domain for If": (lambda m: setattr(m.graph.node[2], "domain", "com.evil"), "no If"),
}


def floats(name: str, values: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


@pytest.mark.parametrize("name", CHANGES)
def test_other_frames_are_refused(members: list[Network], name: str) -> None:
    change, reason = CHANGES[name]
    model = export_onnx(*members)
    assert len(read_level_file(to_bytes(model)).members) == 3
    change(model)
    with pytest.raises(VerificationError, match=reason):
        read_level_file(to_bytes(model))


def test_members_are_read_as_files_of_their_own(members: list[Network]) -> None:
    """Names, shapes, order, values, dense and sparse."""
    together = read_level_file(to_bytes(export_onnx(*members))).members
    for ours, network in zip(together, members, strict=True):
        (alone,) = read_level_file(to_bytes(export_onnx(network))).members
        assert ours.nodes == alone.nodes
        assert {name: (t.shape, bytes(t.values), t.places and bytes(t.places)) for name, t in ours.tensors.items()} == {
            name: (t.shape, bytes(t.values), t.places and bytes(t.places)) for name, t in alone.tensors.items()
        }


def test_more_members_than_allowed_are_refused(members: list[Network]) -> None:
    read_level_file(to_bytes(export_onnx(*[members[0]] * MAX_MEMBERS)))
    with pytest.raises(VerificationError, match="a mixture of 2 to 16 members"):
        read_level_file(to_bytes(export_onnx(*[members[0]] * (MAX_MEMBERS + 1))))


def test_nodes_and_bytes_of_all_members_count(members: list[Network], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may not have as many again for each member."""
    data = to_bytes(export_onnx(*members))
    sizes = [
        sum(len(t.shape) and 4 * int(np.prod(t.shape)) for t in m.tensors.values())
        for m in read_level_file(data).members
    ]
    with pytest.raises(VerificationError, match="declares tensors"):
        read_level_file(data + b"", max(sum(sizes) - 1, len(data)))
    nodes = len(read_level_file(data).members[0].nodes)
    monkeypatch.setattr(reader, "MAX_NODES", 2 * nodes)
    with pytest.raises(VerificationError, match=f"nodes, more than {2 * nodes}"):
        read_level_file(data)
