"""Many pictures, asked about in batches, several at a time; one that gets no answer does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.api.schemas import Answer, Prediction
from service.cli.files import read
from service.client import AsyncClient, Parameter
from service.errors import ClientError

# The deadline is that of one request: the next may be in time.
DEADLINE = 504
TOO_LARGE = 413


@dataclass(frozen=True)
class Outcome:
    """What came of one picture: a prediction and the answer that it is from, or an error."""

    path: Path
    prediction: Prediction | None = None
    answer: Answer | None = None
    error: ClientError | None = None


class BulkPredictor:
    """Asks one service about batches, at most `concurrency` at a time, and says how many pictures came back so far."""

    def __init__(
        self, client: AsyncClient, parameters: dict[str, Parameter], concurrency: int, progress: Callable[[int], object]
    ) -> None:
        self.client, self.parameters, self.progress = client, parameters, progress
        self._turns = asyncio.Semaphore(concurrency)

    async def run(self, batches: Iterable[Sequence[Path]]) -> tuple[list[Outcome], ClientError | None]:
        """What came of each picture, in order, and the error that ended it before all were asked about."""
        outcomes: list[Outcome] = []
        tasks = [asyncio.create_task(self._turn(batch)) for batch in batches]
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

    async def _turn(self, batch: Sequence[Path]) -> list[Outcome]:
        async with self._turns:
            unread: dict[Path, Outcome] = {}
            pictures: list[tuple[Path, bytes]] = []
            for path in batch:
                try:
                    pictures.append((path, await asyncio.to_thread(read, path)))
                except ClientError as error:
                    unread[path] = Outcome(path, error=error)
            asked = iter(await self._ask(pictures))
            self.progress(len(batch))
            return [unread.get(path) or next(asked) for path in batch]

    async def _ask(self, pictures: Sequence[tuple[Path, bytes]]) -> list[Outcome]:
        """Ask about pictures together; without the one that is refused, or in halves where they are too much."""
        if not pictures:
            return []
        try:
            answer = await self.client.predict([(path.name, data) for path, data in pictures], **self.parameters)
        except ClientError as error:
            return await self._ask_without(pictures, error)
        pairs = zip(pictures, answer.predictions, strict=True)
        return [Outcome(path, prediction, answer) for (path, _), prediction in pairs]

    async def _ask_without(self, pictures: Sequence[tuple[Path, bytes]], error: ClientError) -> list[Outcome]:
        if error.image is not None and error.image < len(pictures):
            before, after = pictures[: error.image], pictures[error.image + 1 :]
            rest = iter(await self._ask([*before, *after]))
            refused = Outcome(pictures[error.image][0], error=error)
            return [*(next(rest) for _ in before), refused, *rest]
        if error.status == TOO_LARGE and len(pictures) > 1:
            half = len(pictures) // 2
            return await self._ask(pictures[:half]) + await self._ask(pictures[half:])
        if error.status in (TOO_LARGE, DEADLINE):
            return [Outcome(path, error=error) for path, _ in pictures]
        raise error
