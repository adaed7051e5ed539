"""Predict many pictures in batches, several requests at a time; a picture that fails does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.api.schemas import Answer, Prediction
from service.cli.files import read
from service.client import AsyncClient, Parameter
from service.errors import ClientError

TOO_LARGE = 413
# The deadline is that of one request: the next may be in time.
DEADLINE_PASSED = 504


@dataclass(frozen=True)
class Outcome:
    """Result of one picture: a prediction and the answer that contains it, or an error."""

    path: Path
    prediction: Prediction | None = None
    answer: Answer | None = None
    error: ClientError | None = None


class BulkPredictor:
    """Send batches to one service, at most `concurrency` at a time; report the size of each finished one."""

    def __init__(
        self, client: AsyncClient, parameters: dict[str, Parameter], concurrency: int, progress: Callable[[int], object]
    ) -> None:
        self.client, self.parameters, self.progress = client, parameters, progress
        self._slots = asyncio.Semaphore(concurrency)

    async def run(self, batches: Iterable[Sequence[Path]]) -> tuple[list[Outcome], ClientError | None]:
        """Return the outcome of each picture in order, and the error that ended the run early, if any."""
        outcomes: list[Outcome] = []
        tasks = [asyncio.create_task(self._predict_files(batch)) for batch in batches]
        try:
            for task in tasks:
                outcomes += await task
        except ClientError as error:
            return outcomes, error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return outcomes, None

    async def _predict_files(self, batch: Sequence[Path]) -> list[Outcome]:
        async with self._slots:
            unread: dict[Path, Outcome] = {}
            pictures: list[tuple[Path, bytes]] = []
            for path in batch:
                try:
                    pictures.append((path, await asyncio.to_thread(read, path)))
                except ClientError as error:
                    unread[path] = Outcome(path, error=error)
            answered = iter(await self._predict(pictures))
            self.progress(len(batch))
            return [unread.get(path) or next(answered) for path in batch]

    async def _predict(self, pictures: Sequence[tuple[Path, bytes]]) -> list[Outcome]:
        """Send pictures in one request; after a refusal, without the picture at fault, or in halves if too large."""
        if not pictures:
            return []
        try:
            answer = await self.client.predict([(path.name, data) for path, data in pictures], **self.parameters)
        except ClientError as error:
            return await self._retry(pictures, error)
        pairs = zip(pictures, answer.predictions, strict=True)
        return [Outcome(path, prediction, answer) for (path, _), prediction in pairs]

    async def _retry(self, pictures: Sequence[tuple[Path, bytes]], error: ClientError) -> list[Outcome]:
        if error.image is not None and error.image < len(pictures):
            before, after = pictures[: error.image], pictures[error.image + 1 :]
            rest = iter(await self._predict([*before, *after]))
            refused = Outcome(pictures[error.image][0], error=error)
            return [*(next(rest) for _ in before), refused, *rest]
        if error.status == TOO_LARGE and len(pictures) > 1:
            half = len(pictures) // 2
            return await self._predict(pictures[:half]) + await self._predict(pictures[half:])
        if error.status in (TOO_LARGE, DEADLINE_PASSED):
            return [Outcome(path, error=error) for path, _ in pictures]
        raise error
