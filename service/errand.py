"""Work that takes long, done where it holds up nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from starlette.requests import Request

from service.niceness import step_back

Result = TypeVar("Result")


async def done(request: Request, work: Callable[[], Result], *, quick: bool = False) -> Result:
    """What `work` gives, from another thread; or from this one, where it is so quick that asking would take longer.

    As many are done at once as there are cores: more would only wait for each other, with their pictures in memory.
    """
    if quick:
        return work()
    return await anyio.to_thread.run_sync(_stepping_back, work, limiter=request.app.state.computing)


def _stepping_back(work: Callable[[], Result]) -> Result:
    step_back()
    return work()
