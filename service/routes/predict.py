"""`POST /predict`: images in, probabilities with their uncertainty out."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import anyio.to_thread
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from model_store.manifest import Level
from service.answer import Answer, Prediction, Timing, predictions
from service.catalog import ServedLevel
from service.errors import ParameterError
from service.payload import FIELD, read_pictures
from service.picture import MEDIA_TYPES, decode
from service.problem import describe
from service.routes.models import CatalogOf
from service.settings import Settings
from service.uncertainty import Predictive, predictive

router = APIRouter(tags=["predict"])


class Parameters(BaseModel):
    """What a request may ask for, in its query."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of a model; may be left out where there is one.")
    version: str | None = Field(None, description="A version or an alias; by default production, else the newest.")
    level: str | None = Field(None, description="A pruning level; auto or nothing is the version's default level.")
    samples: str = Field("auto", description="Draws: a whole number from 1, or auto for the level's default.")
    alpha: float = Field(0.1, description="Error rate of the prediction set: one that the level is calibrated for.")
    top_k: int = Field(10, ge=1, le=1000, description="Classes to list, most probable first.")


IMAGE: dict[str, Any] = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    "required": True,
    "description": "One or many pictures, in one of three forms.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "array", "items": IMAGE, "minItems": 1}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "contentEncoding": "base64"}}
                },
            },
            "example": {
                FIELD: [
                    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQAAAADsdIMmAAAAEElEQVR4nGNgYGD4//8/AwAG/gL+bQbbhwAAAABJRU5ErkJggg=="
                ]
            },
        },
        **{media_type: {"schema": IMAGE} for media_type in MEDIA_TYPES},
    },
}
EXAMPLE: dict[str, Any] = {
    "request_id": "5f0c6f1c2b0e4a06b8d0a3b1f6d1f9aa",
    "model": "digits",
    "version": "20261123-075100-3f9ca1",
    "level": "p80",
    "predictions": [
        {
            "label": "4",
            "probability": 0.71,
            "probabilities": [
                {"label": "4", "probability": 0.71, "std": 0.06, "low": 0.60, "high": 0.81},
                {"label": "9", "probability": 0.29, "std": 0.06, "low": 0.19, "high": 0.40},
            ],
            "uncertainty": {"total": 0.60, "aleatoric": 0.59, "epistemic": 0.01},
            "prediction_set": ["4", "9"],
            "decision": "abstain",
            "reason": "uncertain",
            "monte_carlo": {"draws": 32, "standard_error": 0.011, "stop": "samples"},
        }
    ],
    "timing_ms": {"decode": 0.2, "queue": 0.0, "inference": 3.1},
}


@router.post(
    "/predict",
    summary="Classify images and say how sure it is",
    responses={
        200: {"content": {"application/json": {"example": EXAMPLE}}},
        **describe(400, 404, 413, 415, 422, 503),
    },
    openapi_extra={"requestBody": BODY},
)
async def predict(request: Request, catalog: CatalogOf, parameters: Annotated[Parameters, Query()]) -> Answer:
    """Post pictures as multipart/form-data (field `images`), as one raw image, or as JSON with base64."""
    settings: Settings = request.app.state.settings
    served = catalog.level(parameters.model, parameters.version, parameters.level)
    level = served.level
    samples = _samples(parameters.samples, served, settings.max_samples)
    quantile = _quantile(parameters.alpha, level)
    pictures = await read_pictures(request, settings)
    arrived = time.perf_counter()

    def compute() -> tuple[list[Prediction], Timing]:
        started = time.perf_counter()
        images = np.stack(
            [decode(data, served.manifest.input, settings.max_pixels, n) for n, data in enumerate(pictures)]
        )
        decoded = time.perf_counter()
        summary, inference = _infer(served, images, samples)
        answered = predictions(
            summary,
            served.manifest.classes,
            level.calibration,
            draws=samples,
            quantile=quantile,
            top_k=parameters.top_k,
        )
        queue, decoding = 1000 * (started - arrived), 1000 * (decoded - started)
        return answered, Timing(decode=decoding, queue=queue, inference=inference)

    # As many at once as there are cores: more would only wait for each other, with their pictures in memory.
    with request.app.state.admission.admit(len(pictures) * samples):
        answered, timing = await anyio.to_thread.run_sync(compute, limiter=request.app.state.computing)
    return Answer(
        request_id=request.state.request_id,
        model=served.manifest.model,
        version=served.manifest.version,
        level=level.name,
        predictions=answered,
        timing_ms=timing,
    )


def _infer(served: ServedLevel, images: npt.NDArray[np.uint8], samples: int) -> tuple[Predictive, float]:
    """The predictive distribution, and the milliseconds it took once the networks were there."""
    engine = served.engine()
    engine.prepare(samples)
    begun = time.perf_counter()
    summary = predictive(engine.draws(images, samples), served.level.calibration.temperature)
    inference = 1000 * (time.perf_counter() - begun)
    served.latency.record(inference)
    return summary, inference


def _samples(text: str, served: ServedLevel, most: int) -> int:
    if text == "auto":
        return served.default_samples
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not 1 <= int(text) <= most:
        raise ParameterError(f"samples must be a whole number from 1 to {most}, or auto, got {text[:20]!r}")
    return int(text)


def _quantile(alpha: float, level: Level) -> float:
    quantiles = {float(known): quantile for known, quantile in level.calibration.conformal_quantiles.items()}
    if alpha not in quantiles:
        known = ", ".join(level.calibration.conformal_quantiles)
        raise ParameterError(f"alpha must be one that level {level.name} is calibrated for: {known}, got {alpha:g}")
    return quantiles[alpha]
