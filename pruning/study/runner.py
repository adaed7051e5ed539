"""Run a study: every criterion, granularity and level of one run, one trial after the other.

    OUT/study.json        the study's settings; resuming with other settings is refused
    OUT/timings.json      layer latencies in milliseconds, measured once: choices do not depend on when they are made
    OUT/cells/TRIAL/      posterior and result of each trial
    OUT/table.json, .csv, .md and the plots, rewritten after each trial

An interrupted study resumes with the first unfinished trial.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from pruning.cost.budget import Budget
from pruning.cost.latency import Timings, measure_ms
from pruning.criteria import CRITERIA, criterion
from pruning.errors import NotFoundError, StudyError
from pruning.evaluation.evaluate import evaluate
from pruning.fine_tuning import FineTuning
from pruning.granularity import check_level, check_ranking, granularity
from pruning.granularity.mask import weights_left
from pruning.granularity.weight import choose_removal
from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import draw_logits, draw_weights
from pruning.graph.network import Network
from pruning.graph.onnx_export import export_onnx, to_bytes
from pruning.level import DENSE, Level, chains
from pruning.pruner import Pruner, PruningConfig
from pruning.study.bprune import bprune
from pruning.study.scratch import fresh_posterior
from pruning.study.trial import Trial, TrialResult, TrialStore, check_settings
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.evaluation.metrics import predictive
from training.progress import Stage
from training.randomness import generator_for
from training.recipe import ALL_LAYERS, random_count

BASELINE, SCRATCH = "bprune", "scratch"
CONTROLS = ("magnitude", "random", SCRATCH)
# Draws of each test image for differences between trials.
PAIRED_DRAWS = 8
SETTINGS, TIMINGS, TRIALS = "study.json", "timings.json", "cells"


def all_random(posterior: Posterior, random: str) -> bool:
    """Return whether every layer has scales in a study of a posterior with random layers as `random` says."""
    return random == ALL_LAYERS and not any(weight.deterministic for weight in posterior.weights.values())


def fingerprint(posterior: Posterior) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a posterior's random weights."""
    parts = [part for weight in posterior.weights.values() for part in (weight.mean, weight.scale)]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """The trials of a study. At weight granularity only levels by share of weights, such as p80, are possible.

    Beside its criteria a study has controls, some of `CONTROLS`; `scratch` is the network that the first criterion
    leaves, trained from scratch for as many epochs as pruning to its level took since the dense network. Without
    criteria it has all that it can have: those that rank by scales, and the baseline, need them in every layer, as
    `all_random` says. Raises StudyError for others that are named.
    """

    criteria: Sequence[str]
    granularities: Sequence[str]
    levels: Sequence[Level]
    ranking: str = "global"
    tuning: FineTuning = field(default_factory=FineTuning)
    random: str = ALL_LAYERS
    draws: int = 32
    controls: Sequence[str] = CONTROLS
    all_random: bool = True

    def __post_init__(self) -> None:
        if not self.criteria:
            own = [name for name in CRITERIA if name not in CONTROLS and self._can_rank(name)]
            object.__setattr__(self, "criteria", sorted(own, key=lambda name: criterion(name).needs_scales))
        if refused := [name for name in self.criteria if not self._can_rank(name)]:
            raise StudyError(
                f"{', '.join(refused)} ranks by scales, which not every layer of this study has: "
                "choose other criteria, or a run and a study whose layers are all random"
            )
        for name in self.controls:
            if name not in CONTROLS:
                raise NotFoundError(f"unknown control {name!r}: there is {', '.join(CONTROLS)}, or none")
        for name in self.granularities:
            granularity(name)
        check_ranking(self.ranking)
        random_count(self.random)

    def _can_rank(self, name: str) -> bool:
        return not criterion(name).needs_scales or self.all_random

    @cached_property
    def trials(self) -> list[Trial]:
        """List all trials, each after the one that it starts from."""
        trials = [Trial("none", "none", DENSE)]
        for kind in self.granularities:
            for name in dict.fromkeys((*self.criteria, *self.controls)):
                if name == SCRATCH and not self.tuning.epochs:
                    continue
                trials += [Trial(name, kind, level) for chain in self.chains(kind) for level in chain]
        if "weight" in self.granularities and self.all_random:
            trials += [Trial(BASELINE, "weight", level) for chain in self.chains("weight") for level in chain]
        return trials

    def chains(self, kind: str) -> list[list[Level]]:
        """Return the chains of levels that a granularity can reach."""
        return [chain for chain in chains(self.levels) if kind == "channel" or chain[0].kind == "p"]

    def config(self, trial: Trial) -> PruningConfig:
        """Return a trial's pruning configuration."""
        return PruningConfig(trial.criterion, trial.granularity, self.ranking, self.tuning, self.random)


class Study:
    """A plan for a trained run, with its results in a folder."""

    def __init__(self, trained: TrainedRun, plan: Plan, folder: Path) -> None:
        self.trained, self.plan, self.folder = trained, plan, folder
        self.store = TrialStore(folder / TRIALS)
        for kind in plan.granularities:
            for chain in plan.chains(kind):
                for level in chain:
                    check_level(kind, level)

    def begin(self) -> None:
        """Create the folder; raise StudyError if it cannot be written or holds a study with other settings."""
        try:
            check_settings(self.folder / SETTINGS, self._settings())
        except OSError as error:
            raise StudyError(f"cannot write {self.folder}: {error.strerror}") from error

    def _settings(self) -> dict[str, object]:
        own: dict[str, object] = {
            "posterior": fingerprint(self.trained.posterior),
            "ranking": self.plan.ranking,
            "random": self.plan.random,
            # A gradual level depends on those before it.
            "levels": [level.name for level in self.plan.levels] if self.plan.tuning.gradual else "any",
            "draws": self.plan.draws,
        }
        return own | {f"pruning_{key}": value for key, value in asdict(self.plan.tuning).items()}

    def run(self) -> Iterator[tuple[Trial, TrialResult, bool]]:
        """Yield each trial with its result, and whether it ran now instead of in an earlier process."""
        timings = Timings.load(self.folder / TIMINGS)
        for trial in self.plan.trials:
            result = self.store.result(trial)
            is_new = result is None
            if result is None:
                result = self._evaluate(trial, self._posterior(trial, timings))
                self.store.save_result(trial, result)
            yield trial, result, is_new

    def _posterior(self, trial: Trial, timings: Timings) -> Posterior:
        if trial.level == DENSE:
            return self.trained.posterior
        posterior = self.store.posterior(trial)
        if posterior is None:
            posterior = self._made(trial, timings)
            timings.save(self.folder / TIMINGS)
            self.store.save_posterior(trial, posterior)
        return posterior

    def _made(self, trial: Trial, timings: Timings) -> Posterior:
        if trial.criterion == BASELINE:
            return self._baseline(trial)
        return self._scratch(trial) if trial.criterion == SCRATCH else self._prune(trial, timings)

    def _prune(self, trial: Trial, timings: Timings) -> Posterior:
        start = self.trained.posterior
        if self.plan.tuning.gradual:
            (chain,) = (chain for chain in self.plan.chains(trial.granularity) if trial.level in chain)
            for level in chain[: chain.index(trial.level)]:
                start = self.store.posterior(replace(trial, level=level)) or start
        return Pruner(self.trained, self.plan.config(trial), timings).level(trial.level, start)

    def _scratch(self, trial: Trial) -> Posterior:
        """Train the network that the first criterion leaves from scratch."""
        first = replace(trial, criterion=self.plan.criteria[0])
        pruned = self.store.posterior(first)
        if pruned is None:
            raise StudyError(f"the posterior of {first.name} is missing: remove the folder {self.store.folder}")
        (chain,) = (chain for chain in self.plan.chains(trial.granularity) if trial.level in chain)
        levels = chain.index(trial.level) + 1 if self.plan.tuning.gradual else 1
        tuner = Pruner(self.trained, self.plan.config(first)).tuner
        fresh, epochs = fresh_posterior(self.trained, pruned), levels * self.plan.tuning.epochs
        trained = tuner.from_scratch(self.trained.module(fresh), fresh, epochs, name=f"training {trial.name}")
        return self.trained.with_batch_statistics(trained)

    def _baseline(self, trial: Trial) -> Posterior:
        trained, posterior = self.trained, self.trained.posterior
        scores = criterion("snr").scores(posterior, trained.recipe.prior_scale, generator_for(0, "unused"))
        budget = Budget.for_level(trial.level, trained.weights, trained.multiply_adds)
        network = trained.network(posterior)
        return bprune(posterior, choose_removal(network, posterior, scores, budget, "global", Timings()))

    def _evaluate(self, trial: Trial, posterior: Posterior) -> TrialResult:
        network = fold_and_compact(self.trained.network(posterior))
        seed, draws = self.trained.recipe.seed, self.plan.draws
        sparsity = 1 - weights_left(posterior) / self.trained.weights
        if trial.criterion == BASELINE:  # it counts as pruned what it leaves as noise
            sparsity = trial.level.amount / 100
        evaluation = evaluate([network], self.trained.dataset, draws, seed, name=trial.name)
        nlls_N, correct_N = self._of_images(network, evaluation.calibration.temperature, trial.name)
        return TrialResult(
            sparsity=sparsity,
            parameters=network.parameters,
            multiply_adds=network.multiply_adds,
            bytes=len(to_bytes(export_onnx(network))),
            milliseconds=measure_ms(network),
            evaluation=evaluation,
            nlls=[round(value, 5) for value in nlls_N.tolist()],
            correct=correct_N.int().tolist(),
        )

    def _of_images(self, network: Network, temperature: float, name: str) -> tuple[Tensor, Tensor]:
        """Return the NLL of each test image, and whether it is classified correctly, [N]."""
        test, generator = self.trained.dataset.test, generator_for(self.trained.recipe.seed, "paired")
        draws = [draw_weights(network, generator) for _ in range(min(PAIRED_DRAWS, self.plan.draws))]
        with Stage(f"comparing {name}", len(draws) * len(test)) as stage:
            logits_SNK = draw_logits(network, test.pixels, draws, stage)
        p_NK = predictive(logits_SNK, temperature)
        nll_N = -p_NK.gather(1, test.labels[:, None]).squeeze(1).clamp_min(1e-12).log()
        return nll_N, p_NK.argmax(1) == test.labels
