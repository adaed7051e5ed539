"""Read and write the folder of a run.

RUN/recipe.json             the recipe, and the facts of the data set
RUN/log.jsonl               one line per epoch
RUN/layers.jsonl            histograms of every layer's random weights, up to 20 times over the run
RUN/events/                 the figures of both as TensorBoard event files
RUN/checkpoint.pt           the latest checkpoint, until the run is finished
RUN/examples/               test images as PNG, NUMBER-LABEL.png
RUN/quality.json            accuracy, NLL and ECE on the test set, of draws and of their mean network
RUN/predictions.npz         predictions on the test set: logits float32 [S, N, K] and labels int64 [N]
RUN/posterior.safetensors   written last: a run is finished when it exists
RUN/plain/                  the run of the plain network from which the posterior starts, if the recipe has one
RUN/report/                 the plots of `slimbayes report`
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
from training.recipe import PLAIN, Recipe
from training.trainer.checkpoint import recipe_difference

MAX_EXAMPLES = 32
LOGS = ("log.jsonl", "layers.jsonl")
# In a folder that holds the runs of a mixture's members (`training.trainer.members`).
MEMBERS = "members.json"


@dataclass(frozen=True)
class Run:
    """The run in `folder`, which may not exist yet.

    Every method raises RunError where the folder cannot be read or written.
    """

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Return the path of the latest checkpoint."""
        return self.folder / "checkpoint.pt"

    @property
    def plain(self) -> Run:
        """Return the run of the plain network from which the posterior starts, if the recipe has one."""
        return Run(self.folder / PLAIN)

    @property
    def exists(self) -> bool:
        """Return whether the folder holds a run."""
        return self._has("recipe.json")

    @property
    def finished(self) -> bool:
        """Return whether the run is finished."""
        return self._has("posterior.safetensors")

    @property
    def interrupted(self) -> bool:
        """Return whether there is a checkpoint to resume from."""
        return self._has(self.checkpoint.name)

    @property
    def can_continue(self) -> bool:
        """Return whether an unfinished run has anything to resume from: its checkpoint, or its plain network's run."""
        return not self.finished and (self.interrupted or self.plain.interrupted or self.plain.finished)

    def _has(self, name: str) -> bool:
        try:
            return (self.folder / name).exists()
        except OSError as error:
            raise RunError(f"cannot look into the run folder {self.folder}: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, created if missing, for one process; raise RunError if it is in use or holds other files."""
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

    def begin(
        self, recipe: Recipe, dataset: Dataset, data_dir: Path | None, world_size: int, network: str | None = None
    ) -> None:
        """Create the folder, and write the recipe, the facts of the data set and example images.

        `network` is a digest of what a user's own network computes, to tell it from another.
        """
        facts = {
            "recipe": recipe.to_json(),
            "data_dir": None if data_dir is None else str(data_dir.resolve()),
            **_dataset_facts(dataset),
            "world_size": world_size,
            **({} if network is None else {"network": network}),
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
        """Append one line to the log."""
        self._append("log.jsonl", figures)

    def log_layers(self, epoch: int, images: int, layers: dict[str, dict[str, list[float]]]) -> None:
        """Append one line of histograms by layer."""
        self._append("layers.jsonl", {"epoch": epoch, "images": images, "layers": layers})

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        try:
            with (self.folder / name).open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise RunError(f"cannot write the log of the run in {self.folder}: {error.strerror}") from error

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Read the complete lines of a log; a crash may have left an incomplete last line."""
        path = self.folder / name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def truncate_logs(self, images: int) -> None:
        """Remove log lines after `images` images, since the resumed run logs them again."""
        for name in LOGS:
            try:
                kept = [json.dumps(line) + "\n" for line in self.lines(name) if line["images"] <= images]
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{name} of the run in {self.folder} is damaged: {error}") from error
            write_atomically(self.folder / name, "".join(kept).encode())

    def clear(self) -> None:
        """Remove the files of an earlier run, and no others."""
        for name in ("posterior.safetensors", "quality.json", "predictions.npz", "checkpoint.pt", *LOGS, "recipe.json"):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("examples", "events", "report"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove(self) -> None:
        """Remove the whole folder, if there is one."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self, posterior: Posterior, quality: dict[str, Any], logits_SNK: Tensor, labels_N: Tensor) -> None:
        """Write predictions and quality, then the posterior, which marks the run as finished."""
        buffer = BytesIO()
        np.savez_compressed(buffer, logits=logits_SNK.float().numpy(), labels=labels_N.numpy())
        write_atomically(self.folder / "predictions.npz", buffer.getvalue())
        write_atomically(self.folder / "quality.json", json.dumps(quality, indent=2).encode())
        posterior.save(self.folder / "posterior.safetensors")
        self.checkpoint.unlink(missing_ok=True)

    def hessian_left(self) -> float | None:
        """Return the share of IVON's initial Hessian left after the last epoch, None for other estimators."""
        try:
            lines = self.lines("log.jsonl")
            left = lines[-1].get("hessian_left") if lines else None
            return None if left is None else float(left)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RunError(f"log.jsonl of the run in {self.folder} is damaged: {error}") from error

    def quality(self) -> dict[str, Any]:
        """Return the figures of quality.json."""
        return dict(json.loads((self.folder / "quality.json").read_bytes()))

    def predictions(self) -> tuple[Tensor, Tensor]:
        """Return logits float32 [S, N, K] of draws on the test set, and labels int64 [N]."""
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
        """Return the contents of recipe.json; raise RunError if the folder holds no run."""
        try:
            facts = json.loads((self.folder / "recipe.json").read_bytes())
            Recipe.from_json(facts["recipe"])
            _ = facts["data_dir"], facts["world_size"]
        except OSError as error:
            if self._has(MEMBERS):
                raise RunError(
                    f"{self.folder} holds members: name one of them, such as {self.folder}/member-0"
                ) from error
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
        """Raise RunError, naming the first difference, unless the run was started with the same data."""
        facts = self.facts()
        for key, value in json.loads(json.dumps(_dataset_facts(dataset))).items():
            if facts.get(key) != value:
                raise RunError(f"the data have changed since the run in {self.folder} was started: other {key}")

    def check_network(self, digest: str) -> None:
        """Raise RunError if the run was started with a user's own network of another digest."""
        if self.facts().get("network", digest) != digest:
            raise RunError(f"the run in {self.folder} was started with another network: name another folder")

    def recipe(self) -> Recipe:
        """Return the recipe of the run."""
        return Recipe.from_json(self.facts()["recipe"])

    def data_dir(self) -> Path | None:
        """Return the folder of the run's data set, None if it needs none."""
        folder = self.facts()["data_dir"]
        return None if folder is None else Path(folder)

    def posterior(self) -> Posterior:
        """Return the posterior of a finished run; raise RunError if it is not finished."""
        self.facts()
        if not self.finished:
            raise RunError(
                f"the run in {self.folder} is not finished: "
                f"continue with `slimbayes train --resume --out {self.folder}`"
            )
        return Posterior.load(self.folder / "posterior.safetensors")


def _dataset_facts(dataset: Dataset) -> dict[str, Any]:
    parts = {part: len(getattr(dataset, part)) for part in ("train", "calibration", "test")}
    return {"classes": dataset.classes, "split": parts, "pixels": asdict(dataset.pixels)}
