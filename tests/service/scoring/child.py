"""`slimbayes score` in a process of its own, which begins at once: it is forked from one that has all imports."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess

PRELOAD = ["service.score_cli", "service.scoring.inventory", "service.scoring.task"]


def start(*arguments: str) -> BaseProcess:
    """The process, which is running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_score, args=(list(arguments),))
    process.start()
    return process


def _score(arguments: list[str]) -> None:
    from service.score_cli import app

    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    app(arguments)
