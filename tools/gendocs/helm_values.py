"""Generate the settings part of the Helm chart's values schema from `Settings`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.settings import Settings
from tools.gendocs.markdown import PROJECT

PATH = PROJECT / "docker" / "helm" / "slimbayes" / "values.schema.json"
# Set by other values of the chart.
TAKEN = {"store", "host", "port", "drain_seconds"}
# Helm passes numbers as float64, which has no more exact integers.
LARGEST = 2**53 - 1
# No dollar sign: Kubernetes expands $(NAME).
PLAIN = "[ -#%-~]*"
Schema = dict[str, Any]


def generate() -> tuple[Path, str]:
    """Return the path and content of the values schema."""
    schema = json.loads(PATH.read_text())
    settings = Settings.model_json_schema()["properties"]
    named = {name: _narrowed(_given(each)) for name, each in settings.items() if name not in TAKEN}
    schema["properties"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        # A path needs a volume, which is a value of its own.
        "properties": {name: each for name, each in named.items() if each.get("format") != "path"},
    }
    return PATH, json.dumps(schema, indent=2) + "\n"


def _given(field: Schema) -> Schema:
    """Remove the null that stands for the default."""
    (kind,) = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    kept = {key: kind[key] for key in kind if key not in {"title", "default", "description"}}
    return {"description": field["description"], **kept}


def _narrowed(field: Schema) -> Schema:
    """Narrow a schema to values that reach the service unchanged."""
    match field["type"]:
        case "integer" | "number":
            return {"maximum": LARGEST, **field}
        case "string" if "enum" not in field and "format" not in field:
            return field | {"pattern": field.get("pattern", "^") + PLAIN + "$"}
        case "array":
            # No comma: it separates entries.
            items = field["items"] if "enum" in field["items"] else {"type": "string", "pattern": "^[!-#%-+.-~-]+$"}
            return field | {"items": items}
    return field
