"""The reference of the HTTP API, from the service's OpenAPI document and the examples that a test asks."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docs.examples import EXAMPLES, FETCH, KEYED, PROBLEM, REFUSAL, URL, Example
from model_store.storage.location import ZOO
from service.app import create_app
from service.http.api_keys import Key
from service.settings import Settings

PATH = Path(__file__).parent / "api.md"
Document = dict[str, Any]
# The document's tags, in the order of the reference, as its headings say them.
SECTIONS = {
    "predict": "Predictions",
    "models": "Models, versions, levels",
    "health": "How the service does",
    "open inference protocol": "The Open Inference Protocol",
}
STATUSES = {
    400: "the body is not in the form that it claims to be",
    401: "no key, or a wrong one",
    403: "a key that may not do this; administration where the service has no keys",
    404: "no such model, version or level",
    408: "the body took too long to arrive",
    409: "the store cannot be changed from here",
    413: "too many bytes, pixels or images",
    415: "not a type or encoding that is read",
    422: "an image that cannot be decoded, or a parameter out of its range",
    429: "more images than the client's rate; `Retry-After` says when to come back",
    503: "too much work waits (`Retry-After` says when to come back), or the service is starting or ending",
    504: "the deadline passed before there was an answer",
}
BEGINNING = f"""# The HTTP API

<!-- Written by `python -m docs` from the service's OpenAPI document; tests/e2e/docs asks every example. -->

The same as a page to try things on is at `/docs` of every service, and as a document at `/openapi.json`.
`slimbayes serve`, with nothing else, serves the zoo at {URL}, and answers all examples but those with `$KEY`.
"""
KEYS = """## Keys

A service with `--keys-file` asks for a key everywhere but at `/`, `/page`, `/docs`, `/openapi.json`, `/livez`,
`/readyz`, `/v2/health/…` and, unless `--metrics-key` is set, `/metrics`. [Operations](operations.md#keys) tells how
keys are made. What is marked *role admin* needs a key that was made with `--admin`; a service without keys refuses it.
"""
ERRORS = """## Errors

An error is a [problem document](#problem) (RFC 9457, `application/problem+json`); under `/v2` it is a
[refusal](#refusal). Every answer has an `X-Request-ID`: the request's own where it is 1 to 64 letters, digits, dots,
dashes or underscores. What nobody foresaw is a 500, and the log has its reason under that id. A service with
`--trusted-hosts` answers 421 to requests for other hosts.
"""


def made() -> tuple[Path, str]:
    """The file, and what it should hold."""
    return PATH, render(document())


def document() -> Document:
    """The OpenAPI document of a service with keys."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text(f"{Key.make('anybody', 'user')[1]}\n")
        app = create_app(Settings(store=ZOO, keys_file=keys))
        app.state.catalog.close()
        return app.openapi()


def render(document: Document) -> str:
    """The whole reference."""
    parts = [BEGINNING, *_examples([FETCH]), KEYS, *_examples(KEYED)]
    parts += [ERRORS, _table(("status", "meaning"), ((str(status), text) for status, text in STATUSES.items()))]
    parts += _examples([PROBLEM, REFUSAL])
    operations = [
        (f"{method.upper()} {path}", each) for path, one in document["paths"].items() for method, each in one.items()
    ]
    for tag, title in SECTIONS.items():
        parts.append(f"## {title}\n")
        for name, operation in operations:
            if operation["tags"] == [tag]:
                parts += _operation(name, operation)
    parts.append("## Schemas\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += _schema(name, schema)
    return "\n".join(parts)


def _operation(name: str, operation: Document) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield f"{operation['summary']}. {operation['description']}\n"
    if operation.get("parameters"):
        rows = [
            (
                f"`{each['name']}`",
                each["in"],
                kind(each["schema"]),
                _default(each["schema"]),
                each.get("description", ""),
            )
            for each in operation["parameters"]
        ]
        yield _table(("parameter", "in", "type", "default", "meaning"), rows)
    if "requestBody" in operation:
        body = operation["requestBody"]
        yield " ".join(["Body:", ", ".join(_contents(body)) + ".", body.get("description", "")]).rstrip() + "\n"
    yield "".join(_answers(operation["responses"]))
    yield from _examples(EXAMPLES[name])
    for content in operation["responses"]["200"]["content"].values():
        if "example" in content:
            yield f"An answer:\n\n```json\n{json.dumps(content['example'], indent=1, ensure_ascii=False)}\n```\n"


def _answers(responses: Document) -> Iterator[str]:
    """One line for the statuses that have the same content."""
    statuses: dict[str, list[str]] = {}
    for status, answer in sorted(responses.items()):
        statuses.setdefault(", or ".join(_contents(answer)), []).append(status)
    for content, alike in statuses.items():
        yield f"- {', '.join(alike)}: {content}\n"


def _contents(body: Document) -> Iterator[str]:
    for media_type, content in body.get("content", {}).items():
        yield f"`{media_type}` ({kind(content['schema'])})"


def _examples(examples: Iterable[Example]) -> Iterator[str]:
    for example in examples:
        if example.shows:
            yield f"{example.shows}\n"
        yield f"```sh\n{example.command}\n```\n"
        if example.answer is not None:
            yield f"```json\n{example.answer}\n```\n"
        elif example.status != 200:
            yield f"This is answered with {example.status}.\n"


def _schema(name: str, schema: Document) -> Iterator[str]:
    yield f"### {name}\n"
    if "description" in schema:
        yield _one_line(schema["description"]) + "\n"
    required = schema.get("required", [])
    rows = [
        (
            f"`{field}`" + ("" if field in required else " (optional)"),
            kind(each),
            _one_line(each.get("description", "")),
        )
        for field, each in schema["properties"].items()
    ]
    yield _table(("field", "type", "meaning"), rows)


def kind(schema: Document) -> str:
    """The type of a value, in words."""
    match schema:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": kinds}:
            return " or ".join(kind(each) for each in kinds)
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"type": "array", "items": items}:
            return f"list of {kind(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {kind(values)}"
        case {"type": "object", "properties": fields}:
            return "; ".join(f"`{field}`: {kind(each)}" for field, each in fields.items())
        case {"type": "string", "format": "binary"}:
            return "bytes"
        case {"type": "string", "format": "date-time"}:
            return "time"
        case {"type": "string", "contentEncoding": encoding}:
            return str(encoding)
        case {"type": name}:
            return " ".join([name, *_bounds(schema)])
    return "anything"


def _bounds(schema: Document) -> Iterator[str]:
    words = {"minimum": "from", "exclusiveMinimum": "over", "maximum": "to", "exclusiveMaximum": "below"}
    for name, word in words.items():
        if name in schema:
            yield f"{word} {schema[name]:g}"


def _default(schema: Document) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") is not None else ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
