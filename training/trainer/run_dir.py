"""The folder of a run: its recipe and log while it goes on, its posterior once it is finished.

RUN/recipe.json             what decides the run, and the shape of its images
RUN/log.jsonl               one line an epoch
RUN/layers.jsonl            now and then, histograms of every layer's random weights
RUN/events/                 the figures of both as event files for TensorBoard
RUN/checkpoint.pt           the latest snapshot, while the run goes on
RUN/examples/               held-out images as PNG, NUMBER-LABEL.png
RUN/quality.json            accuracy, NLL and ECE on the test set
RUN/predictions.npz         what these are of: logits float32 [S, N, K] and labels int64 [N]
RUN/posterior.safetensors   written last: the run is finished when this is there
RUN/report/                 plots of all this, where `slimbayes report` was asked for them
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.atomic import write_atomically
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.errors import RunError, TrainingError
from training.recipe import Recipe
from training.trainer.checkpoint import recipe_difference

MAX_EXAMPLES = 32
LOGS = ("log.jsonl", "layers.jsonl")


@dataclass(frozen=True)
class Run:
    """The run in `folder`."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Where the latest snapshot lies."""
        return self.folder / "checkpoint.pt"

    @property
    def exists(self) -> bool:
        """Whether there is a run in the folder at all."""
        return self._has("recipe.json")

    @property
    def finished(self) -> bool:
        """Whether training came to its end."""
        return self._has("posterior.safetensors")

    @property
    def interrupted(self) -> bool:
        """Whether there is a snapshot to go on from."""
        return self._has(self.checkpoint.name)

    def _has(self, name: str) -> bool:
        try:
            return (self.folder / name).exists()
        except OSError as error:
            raise RunError(f"cannot look into the run folder {self.folder}: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made where it is missing, for one training; raise RunError where it is not to be had."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise RunError(f"cannot write the run folder {self.folder}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.exists and any(self.folder.iterdir()):
                raise RunError(f"{self.folder} holds other files and no run: choose another --out")
            yield
        except BlockingIOError as error:
            raise RunError(f"another training is using {self.folder}: choose another --out") from error
        except OSError as error:
            raise RunError(f"cannot hold the run folder {self.folder}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def begin(self, recipe: Recipe, dataset: Dataset, data_dir: Path | None, world_size: int) -> None:
        """Make the folder, and write what is known before the first step."""
        facts = {
            "recipe": recipe.to_json(),
            "data_dir": None if data_dir is None else str(data_dir.resolve()),
            **_dataset_facts(dataset),
            "world_size": world_size,
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / "recipe.json", json.dumps(facts, indent=2).encode())
            (self.folder / "examples").mkdir(exist_ok=True)
            examples = dataset.test.spread(MAX_EXAMPLES)
            for number, pixels in enumerate(examples.pixels.numpy()):
                label = dataset.classes[int(examples.labels[number])]
                image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
                image.save(self.folder / "examples" / f"{number:03d}-{label}.png")
        except OSError as error:
            raise RunError(f"cannot write the run folder {self.folder}: {error.strerror}") from error

    def log(self, **figures: float | int) -> None:
        """Add one line to the log."""
        self._append("log.jsonl", figures)

    def log_layers(self, epoch: int, images: int, layers: dict[str, dict[str, list[float]]]) -> None:
        """Add one line of histograms by layer."""
        self._append("layers.jsonl", {"epoch": epoch, "images": images, "layers": layers})

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        try:
            with (self.folder / name).open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunError(f"cannot write the log of the run in {self.folder}: {error.strerror}") from error

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The whole lines of one of the logs; a crash may have left a part of one at its end."""
        path = self.folder / name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def truncate_logs(self, images: int) -> None:
        """Drop what was logged after `images` images: the run goes on from there and logs it again."""
        for name in LOGS:
            try:
                kept = [json.dumps(line) + "\n" for line in self.lines(name) if line["images"] <= images]
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{name} of the run in {self.folder} is damaged: {error}") from error
            write_atomically(self.folder / name, "".join(kept).encode())

    def clear(self) -> None:
        """Remove what an earlier run left in the folder, and nothing else."""
        for name in ("posterior.safetensors", "quality.json", "predictions.npz", "checkpoint.pt", *LOGS, "recipe.json"):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("examples", "events", "report"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def finish(
        self, posterior: Posterior, quality: dict[str, float | int], logits_SNK: Tensor, labels_N: Tensor
    ) -> None:
        """Write what the posterior is worth, then the posterior: the run is finished."""
        buffer = BytesIO()
        np.savez_compressed(buffer, logits=logits_SNK.float().numpy(), labels=labels_N.numpy())
        write_atomically(self.folder / "predictions.npz", buffer.getvalue())
        write_atomically(self.folder / "quality.json", json.dumps(quality, indent=2).encode())
        posterior.save(self.folder / "posterior.safetensors")
        self.checkpoint.unlink(missing_ok=True)

    def quality(self) -> dict[str, float | int]:
        """What `finish` wrote of the posterior's worth."""
        return dict(json.loads((self.folder / "quality.json").read_bytes()))

    def predictions(self) -> tuple[Tensor, Tensor]:
        """Logits float32 [S, N, K] of draws on the test set, and labels int64 [N]; RunError where they are damaged."""
        path = self.folder / "predictions.npz"
        try:
            with np.load(BytesIO(path.read_bytes())) as arrays:
                logits_SNK, labels_N = torch.from_numpy(arrays["logits"]), torch.from_numpy(arrays["labels"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise RunError(f"the predictions in {path} cannot be read, they may be damaged: {error}") from error
        fits = logits_SNK.ndim == 3 and logits_SNK.numel() > 0 and logits_SNK.dtype == torch.float32
        fits = fits and labels_N.shape == logits_SNK.shape[1:2] and labels_N.dtype == torch.int64
        if not fits or not bool(((labels_N >= 0) & (labels_N < logits_SNK.shape[2])).all()):
            raise RunError(f"{path} holds no logits [S, N, K] with labels [N] from 0 to below K")
        return logits_SNK, labels_N

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

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise RunError, naming the first difference, unless the run was made with `recipe`."""
        if difference := recipe_difference(self.facts()["recipe"], recipe.to_json()):
            raise RunError(f"the run in {self.folder} was made with {difference}")

    def check_dataset(self, dataset: Dataset) -> None:
        """Raise RunError, naming the first difference, unless the run was begun with data like these."""
        facts = self.facts()
        for key, value in json.loads(json.dumps(_dataset_facts(dataset))).items():
            if facts.get(key) != value:
                raise RunError(f"the data have changed since the run in {self.folder} was begun: other {key}")

    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return Recipe.from_json(self.facts()["recipe"])

    def data_dir(self) -> Path | None:
        """The folder that the run's data came from, where they needed one."""
        folder = self.facts()["data_dir"]
        return None if folder is None else Path(folder)

    def posterior(self) -> Posterior:
        """The posterior of a finished run; raise RunError where it is not finished."""
        self.facts()
        if not self.finished:
            raise RunError(
                f"the run in {self.folder} is not finished: go on with `slimbayes train --resume --out {self.folder}`"
            )
        return Posterior.load(self.folder / "posterior.safetensors")


def _dataset_facts(dataset: Dataset) -> dict[str, Any]:
    parts = {part: len(getattr(dataset, part)) for part in ("train", "calibration", "test")}
    return {"classes": dataset.classes, "split": parts, "pixels": asdict(dataset.pixels)}
