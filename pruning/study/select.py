"""Select finished trials of studies as levels to publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pruning.errors import LevelError, StudyError
from pruning.fine_tuning import FineTuning
from pruning.graph.compaction import fold_and_compact
from pruning.level import DENSE, Level, sort_levels
from pruning.postprocess import PostprocessConfig, PrunedLevel
from pruning.pruner import PruningConfig
from pruning.study.runner import SETTINGS, TRIALS, fingerprint
from pruning.study.trial import Trial, TrialStore, read_settings
from pruning.trained_run import TrainedRun


def parse_trials(
    text: str, criterion: str, granularity: str, auto_level: Callable[[], Level] = lambda: DENSE
) -> list[Trial]:
    """Parse trials separated by commas: levels such as p80, or granularities and levels such as channel/x4.

    The dense level is always one; `auto_level` resolves `auto`. Raises LevelError for an invalid name, and for two
    trials of one level.
    """
    trials = {DENSE: Trial("none", "none", DENSE)}
    for part in filter(None, map(str.strip, text.split(","))):
        kind, _, name = part.rpartition("/")
        level = auto_level() if name == "auto" else Level.parse(name)
        trial = trials[DENSE] if level == DENSE else Trial(criterion, kind or granularity, level)
        if trials.setdefault(level, trial) != trial:
            raise LevelError(f"two of the levels are called {level.name}: a version can have one of them")
    return [trials[level] for level in sort_levels(trials)]


def select_trials(
    run: TrainedRun,
    folders: Sequence[Path],
    trials: Sequence[Trial],
    postprocess: PostprocessConfig,
    num_draws: int | None,
) -> list[PrunedLevel]:
    """Return each trial as a level, from the first study in which it is finished.

    Levels with postprocessing, which studies have not, are evaluated again, and so are those with other draws than the
    study's: `num_draws`, or one of the mean network where draws gain nothing and no number is given. Raises StudyError
    for a study of another run, and for a trial that no study has finished, listing those that are.
    """
    return [_select(run, folders, trial, postprocess, num_draws) for trial in trials]


def _select(
    run: TrainedRun, folders: Sequence[Path], trial: Trial, postprocess: PostprocessConfig, num_draws: int | None
) -> PrunedLevel:
    for folder in folders:
        settings, store = read_settings(folder / SETTINGS), TrialStore(folder / TRIALS)
        if settings.get("posterior") != fingerprint(run.posterior):
            raise StudyError(f"{folder} holds a study of another run")
        result = store.result(trial)
        posterior = run.posterior if trial.level == DENSE else store.posterior(trial)
        if result is None or posterior is None:
            continue
        ranking, tuning, random, draws = _parse_settings(folder, settings)
        dense = trial.level == DENSE
        pruned = PruningConfig()
        if not dense:
            pruned = PruningConfig(trial.criterion, trial.granularity, ranking, tuning, random)
        config = postprocess.for_level(pruned, trial.level)
        if config != pruned or num_draws not in (None, draws):
            level = PrunedLevel.build([run], trial.level, [posterior], config, num_draws or draws)
        else:
            members, own = (fold_and_compact(run.network(posterior)),), None if dense else config
            level = PrunedLevel(trial.level.name, trial.level, own, result.sparsity, members, result.evaluation)
        return level if num_draws else level.with_draws_worth_their_cost(run)
    known = sorted({path.parent.name for folder in folders for path in (folder / TRIALS).glob("*/figures.json")})
    raise StudyError(f"no study has a finished {trial.name}: there is {', '.join(known) or 'none so far'}")


def _parse_settings(folder: Path, settings: dict[str, Any]) -> tuple[str, FineTuning, str, int]:
    tuning = {key.removeprefix("pruning_"): value for key, value in settings.items() if key.startswith("pruning_")}
    try:
        return str(settings["ranking"]), FineTuning(**tuning), str(settings["random"]), int(settings["draws"])
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"the settings of the study in {folder} are damaged: {error}") from error
