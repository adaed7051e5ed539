"""Holds manifests from standard input against the Prometheus operator's models, and prints what these do not know."""

from __future__ import annotations

import json
import sys
from typing import Any

from cloudcoil.models.prometheus_operator import v1
from pydantic import ValidationError


def faults(manifest: dict[str, Any]) -> list[str]:
    """What is not of its kind, by its path."""
    try:
        getattr(v1, manifest["kind"]).model_validate(manifest, extra="forbid")
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return []


if __name__ == "__main__":
    print(json.dumps([faults(manifest) for manifest in json.load(sys.stdin)]))
