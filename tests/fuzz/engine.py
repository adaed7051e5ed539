"""Fuzz one target in this process, guided by coverage; or give it the inputs that are named.

    python -m tests.fuzz.engine pictures FOLDER -max_total_time=300
    python -m tests.fuzz.engine pictures --replay FILE …

Atheris runs the first, and takes libFuzzer's flags. An input that is not borne becomes a file of the target's corpus.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from random import Random

from tests.fuzz.corpus import CORPUS
from tests.fuzz.oracle import Target, examine
from tests.fuzz.targets import load

INSTRUMENTED = ["service", "model_store", "python_multipart", "uvicorn", "PIL"]
# Beyond what a target holds when it begins: what takes more is a finding, and no matter for the machine.
ADDRESS_SPACE_BYTES = 2 * 2**30
LIBFUZZER = ("-timeout=60", "-rss_limit_mb=2560", "-print_final_stats=1", "-reload=0")


def fuzz(name: str, arguments: list[str]) -> None:
    """Mutate inputs until the time is over or one is not borne; does not return."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        target = load(name)
    _limit_memory()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.3:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(bytes(data), random)[:max_size]

    seeds = CORPUS / name
    flags = [f"-max_len={target.max_input_bytes}", f"-artifact_prefix={seeds}/", *LIBFUZZER]
    atheris.Setup(
        [sys.argv[0], *flags, *arguments, str(seeds)], lambda data: _examined(target, data), custom_mutator=mutate
    )
    atheris.Fuzz()


def _examined(target: Target, data: bytes) -> None:
    examine(target, data)


def replay(name: str, paths: list[Path]) -> bool:
    """Give a target some inputs, and print what came of each as a line of JSON; return whether it bore all."""
    target, borne = load(name), True
    _limit_memory()
    for path in paths:
        try:
            found = {"outcome": examine(target, path.read_bytes())[:300]}
        except Exception as error:
            borne, found = False, {"finding": f"{type(error).__name__}: {error}"[:1000]}
        print(json.dumps({"input": path.name, **found}), flush=True)
    target.close()
    return borne


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    chosen, *rest = sys.argv[1:]
    if rest[:1] == ["--replay"]:
        sys.exit(not replay(chosen, list(map(Path, rest[1:]))))
    fuzz(chosen, rest)
