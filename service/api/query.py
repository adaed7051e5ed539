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


def _parse(query: bytes) -> PredictQuery:
    try:
        return PredictQuery.model_validate(dict(QueryParams(query)))
    except ValidationError as error:
        raise ParameterError(describe_validation(error.errors(include_url=False))) from error


_cached = lru_cache(maxsize=CACHED_QUERIES)(_parse)
