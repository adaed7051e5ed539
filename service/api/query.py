"""Parse the query of `POST /predict`, and cache short queries: most clients always send the same."""

from __future__ import annotations

from functools import lru_cache

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from service.errors import ParameterError
from service.http.problems import describe_validation
from service.pipeline.parameters import PredictQuery

CACHED_QUERIES, MAX_CACHED_BYTES = 256, 256


def parse_query(query: bytes) -> PredictQuery:
    """Parse a raw query string; raise ParameterError for bad parameters."""
    return _cached(query) if len(query) <= MAX_CACHED_BYTES else _parse(query)


def read_parameters(query: bytes) -> dict[str, str]:
    """Return the parameters of a raw query string; raise ParameterError for one that is empty, or given twice."""
    found: dict[str, str] = {}
    for name, value in QueryParams(query).multi_items():
        if name in found:
            raise ParameterError(f"parameter {name[:80]!r} is given more than once")
        if not value:
            raise ParameterError(f"parameter {name[:80]!r} is empty: leave it out for its default")
        found[name] = value
    return found


def refuse_parameters(query: bytes) -> None:
    """Raise ParameterError if the query string has parameters that belong in the document of the request."""
    if query and (misplaced := QueryParams(query).keys() & PredictQuery.model_fields.keys()):
        raise ParameterError(f"parameter {min(misplaced)!r} is in the query string: it belongs in the document")


def _parse(query: bytes) -> PredictQuery:
    try:
        return PredictQuery.model_validate(read_parameters(query))
    except ValidationError as error:
        raise ParameterError(describe_validation(error.errors(include_url=False))) from error


_cached = lru_cache(maxsize=CACHED_QUERIES)(_parse)
