"""Read a manifest of any schema from bytes that anybody may have written."""

from __future__ import annotations

import sys

from pydantic import ValidationError
from pydantic_core import from_json

from model_store.errors import ManifestError, NewerSchemaError
from model_store.manifest.document import SCHEMA_VERSION, Manifest
from model_store.manifest.fields import records

# Name in the version's folder.
MANIFEST = "manifest.json"
# About ten times what a thousand classes and ten levels need. Reporting a fault in each of more keys would take
# hundreds of megabytes.
MAX_MANIFEST_BYTES, MAX_MANIFEST_KEYS = 2**20, 50_000
# One byte more than allowed is read, so that a longer manifest is noticed.
MANIFEST_READ_BYTES = MAX_MANIFEST_BYTES + 1


def read_manifest(data: bytes) -> Manifest:
    """Parse and validate the bytes of a manifest.

    Raises:
        NewerSchemaError: its schema is newer than this code.
        ManifestError: anything else is wrong with it.
    """
    if len(data) > MAX_MANIFEST_BYTES or data.count(b":") > MAX_MANIFEST_KEYS:
        raise ManifestError(f"the manifest has more than {MAX_MANIFEST_BYTES:,} bytes or {MAX_MANIFEST_KEYS:,} keys")
    try:
        document = from_json(data)
    except ValueError as error:
        raise ManifestError(f"the manifest is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError("the manifest must be a JSON object")
    found = document.get("schema_version")
    if not isinstance(found, int) or isinstance(found, bool):
        raise ManifestError("the manifest must have a whole number as schema_version")
    if found > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"the manifest has schema version {found}, but this Slimbayes reads up to {SCHEMA_VERSION}: upgrade it"
        )
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ManifestError(f"the manifest is not valid: {_summary(error)}") from error
    for where, record in records(manifest):
        for name, value in record:
            if isinstance(value, int) and abs(value) > sys.float_info.max:
                raise ManifestError(f"the manifest is not valid: {where}{name} is no number that can be computed with")
    return manifest


def _summary(error: ValidationError) -> str:
    places = [
        f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}"
        for e in error.errors(include_url=False, include_context=False, include_input=False)[:3]
    ]
    more = error.error_count() - len(places)
    return "; ".join(places) + (f" (and {more} more)" if more > 0 else "")
