"""Predict in process: the draws, the decoder and the answers of the service, without HTTP and without torch."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from model_store.manifest import Level, Manifest
from model_store.signing import TrustedKeys
from model_store.store import Store
from service.api.schemas import Answer
from service.errors import NotFoundError, ParameterError
from service.inference.decision import Postprocessor, conformal_quantile
from service.inference.early_stopping import EarlyStopping
from service.pictures import File, Picture, picture_files
from service.pipeline.parameters import parse_samples
from service.pipeline.postprocessing import ResponseBuilder
from service.pipeline.preprocessing import decode
from service.repository.standalone import build_engine
from service.resources import usable_cores
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.settings import DECODE_MS, MAX_PIXELS, MAX_SAMPLES, PRECISION, TOLERANCE, Precision

AUTO = "auto"
# As many images are computed together, so that memory does not depend on how many there are.
CHUNK = 64


def load(
    store: str | os.PathLike[str] | Store,
    model: str | None = None,
    version: str | None = None,
    level: str | None = None,
    *,
    precision: Precision = PRECISION,
    threads: int | None = None,
    trusted_keys: Sequence[str | Path] = (),
) -> Predictor:
    """Open one level of a version in a store, a folder or URL, and build its draws.

    By default the store's only model, its version `production` or else the newest, and the version's own level. With
    `trusted_keys`, files of public keys, the version must be signed with one of them.

    Raises StoreError where the store has no such version or it is damaged, NotFoundError for an unknown level, and
    ArtifactError for a level that cannot be run.
    """
    if not isinstance(store, Store):
        trusted = TrustedKeys.read([Path(each) for each in trusted_keys]) if trusted_keys else None
        store = Store.open(store, trusted)
    name = store.sole_model(model)
    manifest = store.manifest(name, store.resolve(name, version))
    found = manifest.level(level or manifest.default_level)
    if found is None:
        raise NotFoundError(f"no level {level!r}: there is {', '.join(each.name for each in manifest.levels)}")
    return Predictor(store, manifest, found, precision, threads or usable_cores())


class Predictor:
    """One level, ready to predict; its draws are those that a service makes of it. Thread-safe."""

    def __init__(self, store: Store, manifest: Manifest, level: Level, precision: Precision, threads: int) -> None:
        self.manifest, self.level = manifest, level
        self._engine = build_engine(store, manifest, level, level.draws, threads, precision)
        self._rule = EarlyStopping.from_calibration(level.calibration, TOLERANCE, level.members)
        self._scheduler = Scheduler(threads)

    def __repr__(self) -> str:
        accuracy = f"accuracy {self.level.metrics.accuracy:.2%}"
        return f"<{self.manifest.model} {self.manifest.version}, level {self.level.name}, {accuracy}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads once all is computed; without it they end with the program."""
        self._scheduler.close()

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.manifest.classes

    def predict(
        self,
        images: Picture | Sequence[Picture],
        *,
        samples: int | str = AUTO,
        alpha: float | None = None,
        top_k: int = 10,
        draws: bool = False,
    ) -> Answer:
        """Predict one image or several, and answer as `POST /predict` does.

        Images are paths, bytes of files, arrays uint8 [H, W] or [H, W, C], an array [N, H, W, C], or Pillow images.
        `samples` is a number of draws, or `auto` for early stopping. `alpha` is the error rate of prediction sets, by
        default 0.1, `top_k` the number of classes to list, and `draws` adds the probability under each draw.

        Raises ClientError for an image that cannot be read, and RequestError as the service refuses.
        """
        fixed, calibration = samples != AUTO, self.level.calibration
        count = parse_samples(str(samples), MAX_SAMPLES) if fixed else self.level.draws
        rule = None if fixed else self._rule
        if top_k < 1:
            raise ParameterError(f"top_k must be at least 1, got {top_k}")
        builder = ResponseBuilder(self.classes, calibration, conformal_quantile(alpha, self.level), top_k, draws)
        postprocess = Postprocessor(calibration, builder.render, rule, self.level.members)
        self._engine.prepare(count)
        predictions, decoding_ms, inference_ms = list[dict[str, Any]](), 0.0, 0.0
        files = picture_files(images)
        for start in range(0, len(files), CHUNK):
            begun = time.perf_counter()
            pixels = self._decoded(files[start : start + CHUNK], start)
            decoding_ms += 1000 * (time.perf_counter() - begun)
            job = Job(self._engine, pixels, count, postprocess, rule)
            self._scheduler.submit(job)
            predictions += map(builder.document, job.future.result())
            inference_ms += job.inference_ms
        return Answer.model_validate(
            {
                "request_id": os.urandom(16).hex(),
                "model": self.manifest.model,
                "version": self.manifest.version,
                "level": self.level.name,
                "predictions": predictions,
                "timing_ms": {"decode": decoding_ms, "queue": 0.0, "inference": inference_ms},
            }
        )

    def _decoded(self, files: Sequence[File], first: int) -> npt.NDArray[np.uint8]:
        """Decode some images to uint8 [N, H, W, C]; `first` is the number of the first."""
        shape, until = self.manifest.input, DECODE_MS / 1000
        pixels = [
            decode(data, shape, MAX_PIXELS, number, until=time.thread_time() + until)
            for number, (_, data) in enumerate(files, first)
        ]
        return np.stack(pixels)
