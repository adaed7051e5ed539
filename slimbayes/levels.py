"""Prune a posterior to levels, and publish them: the Python form of `slimbayes prune`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from model_store.manifest import Manifest
from model_store.names import check_alias, check_model_name
from model_store.signing import SigningKey
from model_store.store import Store
from pruning import publishing
from pruning.errors import MixtureError, PublicationError
from pruning.fine_tuning import FineTuning
from pruning.mixture import parse_mixture_levels, prune_members
from pruning.postprocess import PostprocessConfig, PrunedLevel
from pruning.pruner import PruningConfig
from pruning.trained_run import TrainedRun


@dataclass(frozen=True, repr=False)
class PrunedLevels(Sequence[PrunedLevel]):
    """Levels of one posterior, or of the members of a mixture, evaluated and ready to publish; the first is dense."""

    runs: tuple[TrainedRun, ...]
    levels: tuple[PrunedLevel, ...]

    def __len__(self) -> int:
        return len(self.levels)

    @overload
    def __getitem__(self, index: int) -> PrunedLevel: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PrunedLevel]: ...
    def __getitem__(self, index: int | slice) -> PrunedLevel | Sequence[PrunedLevel]:
        """Return a level by its place."""
        return self.levels[index]

    def __repr__(self) -> str:
        return "\n".join(_describe(each) for each in self.levels)


def prune(
    posterior: TrainedRun | Sequence[TrainedRun],
    levels: str | Sequence[str],
    *,
    criterion: str = "activation",
    granularity: str = "channel",
    ranking: str = "global",
    schedule: str = "gradual",
    epochs: int | None = None,
    rate: float = 1.0,
    distillation: float = 0.0,
    random: str = "all",
    draws: int | None = None,
    eight_bits: str | Sequence[str] = "",
) -> PrunedLevels:
    """Prune to levels such as `["p80", "x4"]`, fine-tune, compact, evaluate and calibrate each, and the dense one.

    Several posteriors, of one split, are the members of a mixture. `draws` in evaluation and serving are 32 by default,
    or one pass of the mean network where draws gain nothing over it. `eight_bits` names levels with eight-bit
    convolutions, or is `all`.

    Raises PruningError, naming what was expected, for levels, settings or members that do not go together.
    """
    runs = (posterior,) if isinstance(posterior, TrainedRun) else tuple(posterior)
    _check_members(runs)
    if epochs is None:
        epochs = FineTuning.epochs_for(runs[0].recipe, runs[0].dataset)
    tuning = FineTuning(epochs, schedule, rate, distillation)
    config = PruningConfig(criterion, granularity, ranking, tuning, random)
    postprocess = PostprocessConfig.parse(_joined(eight_bits))
    parsed = parse_mixture_levels(_joined(levels), len(runs), runs[0].auto_level)
    postprocess.check([each.level for each in parsed])
    pruned = [
        PrunedLevel.build(runs, each.level, posteriors, postprocess.for_level(config, each.level), draws)
        for each, posteriors in prune_members(runs, config, parsed)
    ]
    return PrunedLevels(runs, tuple(pruned))


def publish(
    levels: PrunedLevels,
    store: str | Path | Store,
    *,
    model: str,
    alias: str | None = None,
    sign_key: str | Path | None = None,
    new_classes: bool = False,
    force: bool = False,
) -> Manifest:
    """Publish levels as a new version of `model` in a store, a folder or URL, and return its manifest.

    A folder that does not exist is created. `alias` is pointed at the version, which is signed if a key is given.

    Raises OtherClassesError for other classes than those of the model's newest version without `new_classes`,
    PublicationError for levels no better than one class alone without `force`, and StoreError where the store cannot be
    written.
    """
    check_model_name(model)
    if alias is not None:
        check_alias(alias)
    key = None if sign_key is None else SigningKey.read(Path(sign_key))
    opened = store if isinstance(store, Store) else Store.create(str(store))
    chance = publishing.one_class_alone(levels[0].evaluation.metrics, levels.runs[0])
    if chance is not None and not force:
        raise PublicationError(f"{chance}: pass force=True to publish it all the same")
    manifest = publishing.publish(opened, model, levels.runs, levels.levels, key, new_classes=new_classes)
    if alias is not None:
        opened.set_alias(model, alias, manifest.version)
    return manifest


def _joined(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _check_members(runs: Sequence[TrainedRun]) -> None:
    """Raise MixtureError for no run, or runs of other data, whose images for training would calibrate others."""
    if not runs:
        raise MixtureError("there is nothing to prune: expected a posterior, or those of the members of a mixture")
    first = runs[0].dataset
    for number, run in enumerate(runs[1:], 1):
        own = run.dataset
        same = own.classes == first.classes and own.pixels == first.pixels
        for part in ("train", "calibration", "test"):
            ours, theirs = getattr(own, part), getattr(first, part)
            same = same and ours.labels.equal(theirs.labels) and ours.pixels.equal(theirs.pixels)
        if not same:
            raise MixtureError(f"posterior {number} is of other data than posterior 0, or of another split of them")


def _describe(pruned: PrunedLevel) -> str:
    metrics = pruned.evaluation.metrics
    return (
        f"<{pruned.name}: sparsity {pruned.sparsity:.1%}, {pruned.multiply_adds:,} multiply-adds a draw, "
        f"accuracy {metrics.accuracy:.2%}, ECE {metrics.ece:.4f}>"
    )
