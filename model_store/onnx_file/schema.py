"""Define the messages of onnx.proto that a level's file consists of, with their allowed fields and counts.

Anything else is refused: data outside the file, graphs within graphs, values in any but the one form that exporters
write. No message can contain another of its own kind, which bounds nesting: the graphs of a mixture's members, within
attributes, stay bytes, of which `frame` reads as many as a mixture may have.
"""

from __future__ import annotations

from model_store.onnx_file.protobuf import Field, Message

MAX_NODES, MAX_TENSORS, MAX_DIMENSIONS = 10_000, 20_000, 4
# Inputs of a node, as many as tensors that a densely connected network concatenates.
MAX_INPUTS, MAX_ATTRIBUTES = 64, 4

_EXTERNAL = "data outside the file"
_TENSOR = Message(
    "a tensor",
    {
        1: Field("dims", "number", MAX_DIMENSIONS + 1),
        2: Field("data_type", "number"),
        8: Field("name", "text"),
        9: Field("raw_data", "raw"),
    },
    {3: "a segment", 12: "a doc_string", 13: _EXTERNAL, 14: _EXTERNAL, 16: "metadata_props"}
    | dict.fromkeys((4, 5, 6, 7, 10, 11), "values that are not in raw_data"),
)
_SPARSE = Message(
    "a sparse tensor",
    {1: Field("values", _TENSOR), 2: Field("indices", _TENSOR), 3: Field("dims", "number", MAX_DIMENSIONS + 1)},
)
_SUBGRAPH, _SUBTENSOR, _OTHER = "a graph inside it", "a tensor inside it", "a value of another kind"
_ATTRIBUTE_FIELDS = {
    1: Field("name", "text"),
    2: Field("f", "float"),
    3: Field("i", "number"),
    8: Field("ints", "number", 4),
    20: Field("type", "number"),
}
_ATTRIBUTE_REFUSED = (
    {11: _SUBGRAPH, 5: _SUBTENSOR, 10: _SUBTENSOR, 13: "a doc_string", 21: "a reference to an attribute of a function"}
) | dict.fromkeys((4, 7, 9, 14, 15, 22, 23), _OTHER)
_ATTRIBUTE = Message("an attribute", _ATTRIBUTE_FIELDS, _ATTRIBUTE_REFUSED | {6: _SUBGRAPH})
_BRANCHING = Message("an attribute", _ATTRIBUTE_FIELDS | {6: Field("graph", "raw")}, _ATTRIBUTE_REFUSED)


def _node(attribute: Message) -> Message:
    return Message(
        "a node",
        {
            1: Field("inputs", "text", MAX_INPUTS),
            2: Field("outputs", "text", 2),
            3: Field("name", "text"),
            4: Field("op_type", "text"),
            5: Field("attributes", attribute, MAX_ATTRIBUTES),
            7: Field("domain", "text"),
        },
        {6: "a doc_string", 8: "an overload", 9: "metadata_props", 10: "device_configurations"},
    )


_NODE = _node(_ATTRIBUTE)
_DIMENSION = Message(
    "a dimension", {1: Field("dim_value", "number"), 2: Field("dim_param", "text")}, {3: "a denotation"}
)
_SHAPE = Message("a shape", {1: Field("dim", _DIMENSION, MAX_DIMENSIONS + 1)})
_TENSOR_TYPE = Message("a tensor's type", {1: Field("elem_type", "number"), 2: Field("shape", _SHAPE)})
_TYPE = Message(
    "a type",
    {1: Field("tensor_type", _TENSOR_TYPE)},
    {6: "a denotation"} | dict.fromkeys((4, 5, 7, 8, 9), "another type than a tensor"),
)
_VALUE_INFO = Message(
    "an input or output", {1: Field("name", "text"), 2: Field("type", _TYPE)}, {3: "a doc_string", 4: "metadata_props"}
)
_GRAPH = Message(
    "the graph",
    {
        1: Field("nodes", _node(_BRANCHING), MAX_NODES),
        2: Field("name", "text"),
        5: Field("tensors", _TENSOR, MAX_TENSORS),
        11: Field("inputs", _VALUE_INFO, 2),
        12: Field("outputs", _VALUE_INFO, 2),
        15: Field("sparse", _SPARSE, MAX_TENSORS),
    },
    {10: "a doc_string", 13: "value_info", 14: "quantization_annotation", 16: "metadata_props"},
)
# A branch reads the tensors of the graph around it.
BRANCH = Message(
    "a branch",
    {1: Field("nodes", _NODE, MAX_NODES), 2: Field("name", "text"), 12: Field("outputs", _VALUE_INFO, 2)},
    {5: "tensors", 10: "a doc_string", 11: "inputs", 13: "value_info", 14: "quantization_annotation", 15: "tensors"}
    | {16: "metadata_props"},
)
_OPSET = Message("an opset import", {1: Field("domain", "text"), 2: Field("version", "number")})
_METADATA_ENTRY = Message("a metadata entry", {1: Field("key", "text"), 2: Field("value", "text")})
_FUNCTION = Message(
    "a function",
    {
        1: Field("name", "text"),
        4: Field("inputs", "text", 2),
        5: Field("outputs", "text", 2),
        7: Field("nodes", _NODE, 3),
        9: Field("opsets", _OPSET, 2),
        10: Field("domain", "text"),
    },
    {6: "attributes", 8: "a doc_string", 11: "attributes", 12: "value_info", 13: "an overload", 14: "metadata_props"},
)
MODEL = Message(
    "the file",
    {
        1: Field("ir_version", "number"),
        2: Field("producer_name", "text"),
        3: Field("producer_version", "text"),
        7: Field("graph", _GRAPH),
        8: Field("opsets", _OPSET, 3),
        14: Field("metadata", _METADATA_ENTRY, 16),
        25: Field("functions", _FUNCTION, 2),
    },
    {4: "a domain", 5: "a model_version", 6: "a doc_string", 20: "training_info", 26: "a device configuration"},
)
