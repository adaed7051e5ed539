"""Values that a JSON schema allows, drawn with Hypothesis: for the keywords that the chart's schema uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
KEYWORDS = {
    *("$ref", "$defs", "$schema", "title", "description", "type", "enum", "const", "oneOf", "anyOf", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "items", "minItems", "uniqueItems"),
    *("properties", "required", "additionalProperties", "propertyNames", "minProperties"),
}


def drawn(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    """What the schema allows; raise ValueError for a keyword that is not known here."""
    if unknown := schema.keys() - KEYWORDS:
        raise ValueError(f"unknown keywords {unknown}")
    if "$ref" in schema:
        return drawn(resolved(schema, root), root)
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    if choices := schema.get("oneOf", schema.get("anyOf")):
        return st.one_of([drawn(choice, root) for choice in choices])
    return _TYPES[schema["type"]](schema, root)


def resolved(schema: Schema, root: Schema) -> Schema:
    """What a schema refers to, or itself."""
    return root["$defs"][schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema


def leaves(schema: Schema, root: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """The paths of all values that are not objects of named values, each with its schema."""
    schema = resolved(schema, root)
    for name, each in schema.get("properties", {}).items():
        yield from leaves(each, root, (*path, name))
    if "properties" not in schema:
        yield path, schema


def _object(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    if "properties" in schema:
        named = {name: drawn(each, root) for name, each in schema["properties"].items()}
        required = {name: named.pop(name) for name in schema.get("required", [])}
        found = st.fixed_dictionaries(required, optional=named)
        return found.filter(lambda each: len(each) >= schema.get("minProperties", 0))
    if "propertyNames" not in schema:
        return st.just({})
    names = drawn(schema["propertyNames"], root)
    return st.dictionaries(names, drawn(schema["additionalProperties"], root), max_size=3)


def _array(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    items = drawn(schema["items"], root)
    return st.lists(items, min_size=schema.get("minItems", 0), max_size=3, unique=schema.get("uniqueItems", False))


def _string(schema: Schema, _: Schema) -> st.SearchStrategy[Any]:
    # A match is looked for anywhere, and `$` takes a line's end too: patterns that begin and end say all of it.
    pattern = schema.get("pattern")
    return st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True) if pattern else st.text()


def _number(schema: Schema, _: Schema) -> st.SearchStrategy[Any]:
    least, most = schema.get("exclusiveMinimum", schema.get("minimum")), schema.get("maximum")
    # Smaller ones are one with what they border on once they are written down.
    return st.floats(least, most, allow_nan=False, allow_infinity=False).filter(
        lambda each: each > 1e-9 or (each == 0 and "exclusiveMinimum" not in schema)
    )


_TYPES = {
    "object": _object,
    "array": _array,
    "string": _string,
    "boolean": lambda _, __: st.booleans(),
    "integer": lambda schema, _: st.integers(schema.get("minimum"), schema.get("maximum")),
    "number": _number,
}
