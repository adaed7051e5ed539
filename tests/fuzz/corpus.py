"""Write the inputs that fuzzing begins with: whole ones, and one of each known kind of fault.

    python -m tests.fuzz.corpus

Inputs that a fuzzer found lie beside them; their names begin with what was found: crash-, timeout-, oom- or slow-unit-.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.targets import TARGETS, load

CORPUS = Path(__file__).with_name("corpus")
FOUND = ("crash-", "timeout-", "oom-", "slow-unit-")


def inputs(target: str) -> Iterator[Path]:
    """Files of a target, in order of their names."""
    yield from sorted((CORPUS / target).iterdir())


def write(target: str) -> int:
    """Write the seeds of a target anew; return the bytes of all of its inputs."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not path.name.startswith(FOUND):
            path.unlink()
    made, outcomes = load(target), set[str]()
    for name, data in made.seeds():
        outcome = made.run(data) if made.distinct else name
        if outcome not in outcomes:
            (folder / name).write_bytes(data)
        outcomes.add(outcome)
    made.close()
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    for each in TARGETS:
        print(f"{each}: {write(each):,} bytes")
