"""Select finished trials of studies as levels to publish, of one run or of the members of a mixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruning.errors import LevelError, StudyError
from pruning.fine_tuning import FineTuning
from pruning.graph.compaction import fold_and_compact
from pruning.level import DENSE, Level
from pruning.mixture import MixtureLevel, parse_mixture_level, sort_mixture_levels
from pruning.postprocess import PostprocessConfig, PrunedLevel
from pruning.pruner import PruningConfig
from pruning.study.runner import SETTINGS, TRIALS, fingerprint
from pruning.study.trial import Trial, TrialResult, TrialStore, read_settings
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior

DENSE_TRIAL = Trial("none", "none", DENSE)


@dataclass(frozen=True)
class Selection:
    """A trial to publish as a level of the first `members` of a mixture."""

    trial: Trial
    members: int


def parse_selections(
    text: str, criterion: str, granularity: str, members: int, auto_level: Callable[[], Level] = lambda: DENSE
) -> list[Selection]:
    """Parse levels separated by commas: such as p80 or x4-m1, or with their granularity, such as channel/x4.

    The dense level of the first member is always one; `auto_level` resolves `auto`. Raises LevelError for an invalid
    name, and for two trials of one name.
    """
    chosen = {MixtureLevel(DENSE, 1): DENSE_TRIAL}
    for part in filter(None, map(str.strip, text.split(","))):
        kind, _, name = part.rpartition("/")
        each = parse_mixture_level(name, members, auto_level)
        trial = DENSE_TRIAL if each.level == DENSE else Trial(criterion, kind or granularity, each.level)
        if chosen.setdefault(each, trial) != trial:
            raise LevelError(f"two of the levels are called {each.name}: a version can have one of them")
    return [Selection(chosen[each], each.members) for each in sort_mixture_levels(chosen)]


def select_levels(
    runs: Sequence[TrainedRun],
    folders: Sequence[Path],
    selections: Sequence[Selection],
    postprocess: PostprocessConfig,
    num_draws: int | None,
) -> Iterator[PrunedLevel]:
    """Yield each selection as a level; each member's posterior is that of the first of its studies which has finished.

    Levels of several members, and those with postprocessing, which studies have not, are evaluated again, and so are
    those with other draws than the study's: `num_draws`, or one of the mean network where draws gain nothing and no
    number is given. Raises StudyError for a study of none of the runs, for a trial that no study of a run has finished,
    listing those that are, and for members that were pruned with different settings.
    """
    studies = [_FinishedStudy.read(folder) for folder in folders]
    posteriors = [fingerprint(run.posterior) for run in runs]
    for study in studies:
        if study.posterior not in posteriors:
            raise StudyError(f"{study.folder} holds a study of another run")
    for each in selections:
        members = [
            _finished_trial(run, [study for study in studies if study.posterior == posterior], each.trial)
            for run, posterior in zip(runs[: each.members], posteriors, strict=False)
        ]
        yield _level(runs, members, each.trial.level, postprocess, num_draws)


@dataclass(frozen=True)
class _FinishedStudy:
    """The trials of a study, and its settings; `posterior` is the fingerprint of the run's."""

    folder: Path
    posterior: str
    ranking: str
    tuning: FineTuning
    random: str
    draws: int

    @classmethod
    def read(cls, folder: Path) -> _FinishedStudy:
        """Read the settings; raise StudyError if there is no study in the folder, or they are damaged."""
        settings = read_settings(folder / SETTINGS)
        tuning = {key.removeprefix("pruning_"): value for key, value in settings.items() if key.startswith("pruning_")}
        own = [str(settings.get(key)) for key in ("posterior", "ranking", "random")]
        try:
            return cls(folder, own[0], own[1], FineTuning(**tuning), own[2], int(settings["draws"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(f"the settings of the study in {folder} are damaged: {error}") from error

    @property
    def trials(self) -> TrialStore:
        """Return the store of its trials."""
        return TrialStore(self.folder / TRIALS)


@dataclass(frozen=True)
class _FinishedTrial:
    """A trial's posterior and result, how it was pruned, and the draws of its evaluation."""

    posterior: Posterior
    result: TrialResult
    config: PruningConfig
    draws: int


def _finished_trial(run: TrainedRun, studies: Sequence[_FinishedStudy], trial: Trial) -> _FinishedTrial:
    for study in studies:
        result = study.trials.result(trial)
        posterior = run.posterior if trial.level == DENSE else study.trials.posterior(trial)
        if result is None or posterior is None:
            continue
        config = PruningConfig()
        if trial.level != DENSE:
            config = PruningConfig(trial.criterion, trial.granularity, study.ranking, study.tuning, study.random)
        return _FinishedTrial(posterior, result, config, study.draws)
    known = sorted({path.parent.name for study in studies for path in (study.folder / TRIALS).glob("*/figures.json")})
    raise StudyError(
        f"no study of the run with seed {run.recipe.seed} has a finished {trial.name}: "
        f"there is {', '.join(known) or 'none so far'}"
    )


def _level(
    runs: Sequence[TrainedRun],
    members: Sequence[_FinishedTrial],
    level: Level,
    postprocess: PostprocessConfig,
    num_draws: int | None,
) -> PrunedLevel:
    first = members[0]
    if any(each.config != first.config for each in members):
        raise StudyError(f"the members of {level.of_members(len(members))} were pruned with different settings")
    config = postprocess.for_level(first.config, level)
    if len(members) > 1 or config != first.config or num_draws not in (None, first.draws):
        posteriors = [each.posterior for each in members]
        pruned = PrunedLevel.build(runs, level, posteriors, config, num_draws or first.draws)
    else:
        networks, own = (fold_and_compact(runs[0].network(first.posterior)),), None if level == DENSE else config
        pruned = PrunedLevel(level.name, level, own, first.result.sparsity, networks, first.result.evaluation)
    return pruned if num_draws else pruned.with_draws_worth_their_cost(runs[0])
