"""Check what surrounds the networks of a file: IR version, opsets, functions, and the turns of a mixture's members.

The graph of a mixture picks a member, and asks each in turn: one that was picked computes its logits in a branch, the
others pass on what came before.

    member   = slimbayes.PickMember(members)
    member.m = Equal(member, members.m)
    logits.m = If(member.m) then the member's graph, whose names begin with "memberm.", else logits.(m-1)
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from model_store.errors import VerificationError
from model_store.onnx_file import format as file_format
from model_store.onnx_file.schema import BRANCH
from model_store.onnx_file.tensors import FLOAT

GRAPH = 5
Parsed = Mapping[str, Any]
GAUSSIAN_WEIGHT = (
    (file_format.GAUSSIAN_WEIGHT, file_format.GAUSSIAN_WEIGHT_INPUTS, file_format.GAUSSIAN_WEIGHT_OUTPUTS),
    file_format.GAUSSIAN_WEIGHT_BODY,
)
PICK_MEMBER = (
    (file_format.PICK_MEMBER, file_format.PICK_MEMBER_INPUTS, file_format.PICK_MEMBER_OUTPUTS),
    file_format.PICK_MEMBER_BODY,
)


def check_kind(model: Parsed) -> None:
    """Raise VerificationError for another IR version, other opsets, or functions that no level has."""
    if model.get("ir_version") != file_format.IR_VERSION:
        raise VerificationError(f"the file must have IR version {file_format.IR_VERSION}")
    _check_opsets(model["opsets"], file_format.OPSETS)
    for function, (ports, expected) in zip(model["functions"], (GAUSSIAN_WEIGHT, PICK_MEMBER), strict=False):
        _check_opsets(function["opsets"], {"": file_format.OPSETS[""]})
        body = tuple((each.get("op_type"), each["inputs"], each["outputs"]) for each in function["nodes"])
        plain = not any(each.get("domain") or each["attributes"] for each in function["nodes"])
        signature = function.get("domain"), function.get("name"), function["inputs"], function["outputs"]
        if signature != (file_format.DOMAIN, *ports) or not plain or body != expected:
            raise VerificationError("the file has a function that does not draw a weight, nor then pick a member")
    if not model["functions"]:
        raise VerificationError(f"the file must have one function, {file_format.DOMAIN}.{file_format.GAUSSIAN_WEIGHT}")


def member_graphs(model: Parsed) -> Iterator[Parsed]:
    """Yield the graph of each member of a file of a known kind; a file of one network has one member.

    The names of tensors within a mixture's member lose its prefix. Raises VerificationError for any other frame.
    """
    if len(model["functions"]) == 1:
        yield model["graph"]
        return
    graph = model["graph"]
    nodes = graph["nodes"]
    members, rest = divmod(len(nodes) - 1, 2)
    if rest or not 2 <= members <= file_format.MAX_MEMBERS:
        raise VerificationError(f"the file must have a mixture of 2 to {file_format.MAX_MEMBERS} members")
    _check_constants(graph, members)
    _check_node(nodes[0], file_format.PICK_MEMBER, (file_format.MEMBERS,), file_format.MEMBER, file_format.DOMAIN)
    for member in range(members):
        number, picked, before, after = file_format.turn(member, members)
        equal, choice = nodes[1 + 2 * member : 3 + 2 * member]
        _check_node(equal, "Equal", (file_format.MEMBER, number), picked)
        _check_node(choice, "If", (picked,), after)
        _check_passing_on(_branch(choice, file_format.ELSE), before)
        yield _member(graph, _branch(choice, file_format.THEN), file_format.member_prefix(member))


def _check_opsets(opsets: Iterable[Parsed], expected: Mapping[str, int]) -> None:
    found = Counter((each.get("domain", ""), each.get("version")) for each in opsets)
    if found != Counter(expected.items()):
        raise VerificationError("the file must import opset 21 and slimbayes 1, and nothing else")


def _check_constants(graph: Parsed, members: int) -> None:
    """Check the constants that belong to no member."""
    prefixes = {file_format.member_prefix(member) for member in range(members)}
    own = [each for each in graph["tensors"] if _prefix(each) not in prefixes]
    numbers = tuple(range(members))
    expected = {file_format.MEMBERS: ((members,), numbers), file_format.NOTHING: ((1, 1), (0,))}
    expected |= {file_format.turn(each, members)[0]: ((1,), (each,)) for each in numbers}
    found = {each.get("name"): each for each in own}
    same = len(own) == len(found) and found.keys() == expected.keys()
    if not same or not all(_holds(found[name], *values) for name, values in expected.items()):
        raise VerificationError("the file has constants that are of no member, or not those of a mixture")
    if any(_prefix(each.get("values", {})) not in prefixes for each in graph["sparse"]):
        raise VerificationError("the file has sparse constants that are of no member")


def _holds(tensor: Parsed, shape: tuple[int, ...], values: tuple[int, ...]) -> bool:
    raw = struct.pack(f"<{len(values)}f", *values)
    return (tensor["dims"], tensor.get("data_type"), tensor.get("raw_data")) == (shape, FLOAT, raw)


def _check_node(node: Parsed, operation: str, inputs: tuple[str, ...], output: str, domain: str = "") -> None:
    found = node.get("domain", ""), node.get("op_type"), node["inputs"], node["outputs"]
    if found != (domain, operation, inputs, (output,)) or (node["attributes"] and operation != "If"):
        raise VerificationError(f"the file has no {operation} that makes {output!r} where its mixture needs it")


def _check_passing_on(branch: Parsed, before: str) -> None:
    (output,) = _outputs(branch)
    if len(branch["nodes"]) != 1:
        raise VerificationError("the file has a member that computes although it was not picked")
    _check_node(branch["nodes"][0], "Identity", (before,), output)


def _branch(choice: Parsed, name: str) -> Parsed:
    """Parse one of the two branches of an If."""
    found = [each for each in choice["attributes"] if each.get("name") == name and each.get("type") == GRAPH]
    if len(choice["attributes"]) != 2 or len(found) != 1 or set(found[0]) != {"name", "type", "graph", "ints"}:
        raise VerificationError("the file has an If without exactly its two branches")
    return BRANCH.read(found[0]["graph"])


def _outputs(branch: Parsed) -> tuple[str]:
    outputs = [each.get("name", "") for each in branch["outputs"]]
    if len(outputs) != 1:
        raise VerificationError("the file has a branch with more or fewer outputs than one")
    return (outputs[0],)


def _member(graph: Parsed, branch: Parsed, prefix: str) -> Parsed:
    """Return the graph of a member as that of a file of its own."""
    if _outputs(branch) != (f"{prefix}{file_format.LOGITS}",):
        raise VerificationError(f"the file has a member that does not make {prefix}{file_format.LOGITS}")
    nodes = [
        each
        | {"inputs": tuple(_own(name, prefix) for name in each["inputs"])}
        | {"outputs": tuple(_own(name, prefix) for name in each["outputs"])}
        for each in branch["nodes"]
    ]
    tensors = [_renamed(each, prefix) for each in graph["tensors"] if _prefix(each) == prefix]
    sparse = [
        each | {"values": _renamed(each["values"], prefix)}
        for each in graph["sparse"]
        if _prefix(each["values"]) == prefix
    ]
    return {"nodes": tuple(nodes), "tensors": tuple(tensors), "sparse": tuple(sparse)}


def _prefix(tensor: Parsed) -> str:
    first, dot, _ = tensor.get("name", "").partition(".")
    return f"{first}{dot}"


def _renamed(tensor: Parsed, prefix: str) -> Parsed:
    return {**tensor, "name": _own(tensor["name"], prefix)}


def _own(name: str, prefix: str) -> str:
    if name != file_format.IMAGES and not name.startswith(prefix):
        raise VerificationError(f"the file has a member {prefix[:-1]} with a tensor {name!r} of another")
    return name.removeprefix(prefix)
