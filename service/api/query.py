"""What will be done for a request: which level answers it, with how many draws, and what overload took away."""

from __future__ import annotations

from functools import lru_cache

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from service.errors import ParameterError
from service.http.problems import in_words
from service.pipeline.parameters import PredictQuery

# Queries that are remembered, of so many bytes at most: most clients always ask for the same.
QUERIES, SHORT = 256, 256


def parameters_of(query: bytes) -> PredictQuery:
    """The parameters of a query as it was sent; raise ParameterError for bad ones."""
    return _remembered(query) if len(query) <= SHORT else _read(query)


def _read(query: bytes) -> PredictQuery:
    try:
        return PredictQuery.model_validate(dict(QueryParams(query)))
    except ValidationError as error:
        raise ParameterError(in_words(error.errors(include_url=False))) from error


_remembered = lru_cache(maxsize=QUERIES)(_read)
