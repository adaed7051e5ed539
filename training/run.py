"""The folder of a run: its recipe and log while it goes on, its posterior once it is finished.

RUN/recipe.json             what decides the run, and the shape of its images
RUN/log.jsonl               one line an epoch
RUN/checkpoint.pt           the latest snapshot
RUN/examples/               held-out images as PNG, NUMBER-LABEL.png
RUN/quality.json            accuracy, NLL and ECE on the test set
RUN/posterior.safetensors   written last: the run is finished when this is there
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from training.checkpoint import write_atomically
from training.data.images import Dataset
from training.errors import RunError, TrainingError
from training.posterior import Posterior
from training.recipe import Recipe

EXAMPLES = 32


@dataclass(frozen=True)
class Run:
    """The run in `folder`."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Where the latest snapshot lies."""
        return self.folder / "checkpoint.pt"

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return (self.folder / "posterior.safetensors").exists()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder, made where it is missing, for one training; raise RunError where it is not to be had."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise RunError(f"cannot write the run folder {self.folder}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (self.folder / "recipe.json").exists() and any(self.folder.iterdir()):
                raise RunError(f"{self.folder} holds other files and no run: choose another --out")
            yield
        except BlockingIOError as error:
            raise RunError(f"another training is using {self.folder}: choose another --out") from error
        finally:
            os.close(descriptor)

    def begin(self, recipe: Recipe, dataset: Dataset, data_dir: Path | None, world_size: int) -> None:
        """Make the folder, and write what is known before the first step."""
        facts = {
            "recipe": recipe.to_json(),
            "data_dir": None if data_dir is None else str(data_dir.resolve()),
            "classes": dataset.classes,
            "pixels": asdict(dataset.pixels),
            "world_size": world_size,
        }
        try:
            (self.folder / "examples").mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "recipe.json", json.dumps(facts, indent=2).encode())
            for number, pixels in enumerate(dataset.test.pixels[:EXAMPLES].numpy()):
                label = dataset.classes[int(dataset.test.labels[number])]
                image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
                image.save(self.folder / "examples" / f"{number:03d}-{label}.png")
        except OSError as error:
            raise RunError(f"cannot write the run folder {self.folder}: {error.strerror}") from error

    def log(self, **figures: float | int) -> None:
        """Add one line to the log."""
        try:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(figures) + "\n")
        except OSError as error:
            raise RunError(f"cannot write the log of the run in {self.folder}: {error.strerror}") from error

    def cut_log(self, images: int) -> None:
        """Drop what was logged after `images` images: the run goes on from there and logs it again."""
        path = self.folder / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["images"] <= images]
        write_atomically(path, "".join(kept).encode())

    def clear(self) -> None:
        """Remove what an earlier run left in the folder, and nothing else."""
        for name in ("posterior.safetensors", "quality.json", "checkpoint.pt", "log.jsonl", "recipe.json"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "examples", ignore_errors=True)

    def finish(self, posterior: Posterior, quality: dict[str, float | int]) -> None:
        """Write what the posterior is worth, then the posterior: the run is finished."""
        write_atomically(self.folder / "quality.json", json.dumps(quality, indent=2).encode())
        posterior.save(self.folder / "posterior.safetensors")

    def quality(self) -> dict[str, float | int]:
        """What `finish` wrote of the posterior's worth."""
        return dict(json.loads((self.folder / "quality.json").read_bytes()))

    def facts(self) -> dict[str, Any]:
        """What `begin` wrote; raise RunError where the folder holds no run."""
        try:
            facts = json.loads((self.folder / "recipe.json").read_bytes())
            Recipe.from_json(facts["recipe"])
            _ = facts["data_dir"], facts["world_size"]
        except OSError as error:
            raise RunError(
                f"there is no run in {self.folder}: expected a folder that `slimbayes train` wrote"
            ) from error
        except (ValueError, KeyError, TypeError, TrainingError) as error:
            raise RunError(f"the recipe of the run in {self.folder} is damaged: {error}") from error
        return dict(facts)

    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return Recipe.from_json(self.facts()["recipe"])

    def posterior(self) -> Posterior:
        """The posterior of a finished run; raise RunError where it is not finished."""
        self.facts()
        if not self.finished:
            raise RunError(f"the run in {self.folder} is not finished: go on with `slimbayes train … --resume`")
        return Posterior.load(self.folder / "posterior.safetensors")
