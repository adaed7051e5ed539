"""Reads a manifest from standard input into the Prometheus operator's models, and refuses what they do not know."""

from __future__ import annotations

import json
import sys

from cloudcoil.models.prometheus_operator import v1
from pydantic import ValidationError

if __name__ == "__main__":
    manifest = json.load(sys.stdin)
    try:
        getattr(v1, manifest["kind"]).model_validate(manifest, extra="forbid")
    except ValidationError as error:
        sys.exit(str(error))
