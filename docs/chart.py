"""The settings of `slimbayes serve` in the schema of the Helm chart's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.settings import Settings

PATH = Path(__file__).parent.parent / "docker" / "helm" / "slimbayes" / "values.schema.json"
# What the chart's other values set, and paths, each of which needs a volume.
TAKEN = {"store", "host", "port", "drain_seconds"}
# Larger ones would lose digits on their way through Helm, which counts in floating point.
LARGEST = 2**53 - 1
# Kubernetes would put a variable's value where it reads $(NAME).
PLAIN = "[ -#%-~]*"
Schema = dict[str, Any]


def made() -> tuple[Path, str]:
    """The file, and what it should hold."""
    schema = json.loads(PATH.read_text())
    settings = Settings.model_json_schema()["properties"]
    named = {name: _narrowed(_given(each)) for name, each in settings.items() if name not in TAKEN}
    schema["properties"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: each for name, each in named.items() if each.get("format") != "path"},
    }
    return PATH, json.dumps(schema, indent=2) + "\n"


def _given(field: Schema) -> Schema:
    """A field's schema where it is given: without the null that stands for its default."""
    (kind,) = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    kept = {key: kind[key] for key in kind if key not in {"title", "default", "description"}}
    return {"description": field["description"], **kept}


def _narrowed(field: Schema) -> Schema:
    """A field's schema with no value that would not reach the service as it is."""
    match field["type"]:
        case "integer" | "number":
            return {"maximum": LARGEST, **field}
        case "string" if "enum" not in field and "format" not in field:
            return field | {"pattern": field.get("pattern", "^") + PLAIN + "$"}
        case "array":
            # A comma would end the entry.
            items = field["items"] if "enum" in field["items"] else {"type": "string", "pattern": "^[!-#%-+.-~-]+$"}
            return field | {"items": items}
    return field
