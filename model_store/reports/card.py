"""Write the model card of a version (Mitchell et al. 2019): purpose, quality, decisions, limits.

The card is Markdown, made from the manifest alone. It invents nothing, names what is missing where that matters, and
omits empty sections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_store.manifest import (
    DEFAULT_ALPHA,
    MAX_HESSIAN_LEFT,
    SCHEMA_VERSION,
    Calibration,
    Level,
    Manifest,
    Recalibration,
    Score,
    SetKind,
)
from model_store.reports.late_noise import join_words, late_noise
from model_store.reports.mean_network import mean_section
from model_store.small_samples import interval_text
from model_store.text import printable

MAX_CLASSES_SHOWN = 20
SCORES: Mapping[Score, str] = {
    "mutual_information": "mutual information",
    "entropy": "entropy",
    "one_minus_confidence": "one minus the top probability",
    "energy": "energy",
}
SETS: Mapping[SetKind, str] = {"lac": "thresholded", "aps": "adaptive"}
Column = tuple[str, Callable[[Level], str]]


def model_card(manifest: Manifest) -> str:
    """Return the card of a version, ending in a newline."""
    sections = (
        ("Purpose", _purpose(manifest)),
        ("Levels", _levels(manifest)),
        ("Draws and their mean", mean_section(manifest.levels)),
        ("Calibration and decisions", _decisions(manifest)),
        ("Coverage of prediction sets", _coverage(manifest)),
        ("Out of distribution", _ood(manifest)),
        ("Training", _training(manifest)),
        ("Limits", _limits(manifest)),
        ("Use", _use(manifest)),
    )
    head = f"# {_text(manifest.model)} {manifest.version}\n\n{_summary(manifest)}"
    return "\n\n".join([head, *(f"## {title}\n\n{body}" for title, body in sections if body)]) + "\n"


def _summary(manifest: Manifest) -> str:
    training, levels = manifest.training, manifest.levels
    colour = "colour" if manifest.input.channels == 3 else "grey"
    size = f"{manifest.input.width}x{manifest.input.height} {colour} pixels"
    count = "one level" if len(levels) == 1 else f"{len(levels)} levels"
    return (
        f"A Bayesian {_text(training.architecture)} that classifies images of {size} into {len(manifest.classes)} "
        f"classes, with uncertainty. Trained on {_text(training.dataset)}, published on {manifest.created:%d %B %Y} "
        f"at {count} of pruning; `{manifest.default_level}` is the default level."
    )


def _purpose(manifest: Manifest) -> str:
    shown = ", ".join(map(_text, manifest.classes[:MAX_CLASSES_SHOWN]))
    more = len(manifest.classes) - MAX_CLASSES_SHOWN
    return (
        f"It assigns an image to one of these classes: {shown}{f', and {more:,} more' if more > 0 else ''}. "
        "It is made for decisions that may be left open: each answer is either accepted or left to a person, and has "
        "a probability for each class, a prediction set, and its uncertainty in parts.\n\n"
        "It knows no other class: for any image it names one of these or abstains, and never answers that no class "
        "fits. It neither finds objects in an image nor counts them."
    )


def _levels(manifest: Manifest) -> str:
    mixtures = any(level.members > 1 for level in manifest.levels)
    counted = manifest.levels[0].metrics.test_images
    columns: list[Column] = [
        ("kB", lambda level: f"{level.bytes / 1e3:,.1f}"),
        ("sparsity", lambda level: f"{level.sparsity:.1%}"),
        ("weights left", lambda level: f"{level.parameters:,}"),
        ("M multiply-adds", lambda level: f"{level.multiply_adds / 1e6:,.2f}"),
        *([("members", lambda level: f"{level.members}")] if mixtures else []),
        ("accuracy", lambda level: f"{level.metrics.accuracy:.2%}"),
        *([("95 % interval", lambda level: interval_text(level.metrics.accuracy, counted))] if counted else []),
        ("NLL", lambda level: f"{level.metrics.nll:.4f}"),
        ("Brier", lambda level: f"{level.metrics.brier:.4f}"),
        ("ECE", lambda level: f"{level.metrics.ece:.4f}"),
        ("AURC", lambda level: f"{level.metrics.aurc:.4f}"),
        ("draws", lambda level: f"{level.monte_carlo.draws}"),
        ("± of p", lambda level: f"{level.monte_carlo.standard_error:.4f}"),
    ]
    rounded = [f"`{level.name}`" for level in manifest.levels if level.roundings]
    note = ""
    if rounded:
        note = f" The figures of {join_words(rounded)} are of convolutions in eight bits, as they are served."
    if mixtures:
        note += (
            " The members of a mixture are networks of several trainings, each pruned by itself, through which draws "
            "take turns; multiply-adds are the mean over them, weights left and kB those of all."
        )
    measured = f"on the test set of {counted:,} images" if counted else "on the test set"
    return (
        f"{_table('level', manifest.levels, columns)}\n\n"
        f"Quality is measured {measured}, for the mean over so many draws of the weights, after calibration. NLL is in "
        "nats; ECE has 15 bins; AURC is the mean error rate over all coverages, the most certain answers first; ± is "
        "the Monte-Carlo standard error of the top probability. Sparsity is the share of the dense network's random "
        f"weights that was removed; multiply-adds are those of one draw for one image.{note}"
    )


def _decisions(manifest: Manifest) -> str:
    calibrations = [level.calibration for level in manifest.levels]
    columns: list[Column] = [
        ("temperature", lambda level: f"{level.calibration.temperature:.3f}"),
        ("abstains above, nats", lambda level: f"{level.calibration.abstain_above:.4f}"),
    ]
    if any(each.out_of_distribution for each in calibrations):
        columns.append(("out of distribution above", _ood_threshold))
    if any(level.metrics.abstained is not None for level in manifest.levels):
        columns.append(("test images abstained on", lambda level: _share(level.metrics.abstained)))
    for alpha in sorted({key for each in calibrations for key in each.conformal_quantiles}, key=_number, reverse=True):
        columns.append((f"quantile, α = {_text(alpha)}", _quantile(alpha)))
    parts = [
        _table("level", manifest.levels, columns),
        _calibrated_on(calibrations[0], manifest.recalibration),
        "- **accept**: the entropy of the mean prediction is at most the threshold. **abstain, uncertain**: it is "
        "above.",
    ]
    if any(each.out_of_distribution for each in calibrations):
        parts[-1] += (
            "\n- **abstain, out of distribution**: the image's OOD score is above its own threshold. The score is the "
            "one that separated out-of-distribution images best on held-out images; the threshold also rejects some "
            "in-distribution images."
        )
    parts[-1] += (
        "\n- **prediction set** at α: the most probable class, and all whose probability is at least one minus the "
        "quantile. On images that are exchangeable with those of the calibration it contains the true class with "
        "probability 1 − α or more, on average over images and over sets of calibration images, not for each class or "
        f"each kind of image. The service's default is α = {DEFAULT_ALPHA:g}."
    )
    return "\n\n".join(parts)


def _calibrated_on(calibration: Calibration, recalibration: Recalibration | None) -> str:
    """Say which images the thresholds were set on, and which prediction sets these are too few for."""
    count = f"{calibration.images:,} " if calibration.images else ""
    text = f"All of these were set on {count}calibration images, which are neither training nor test images."
    if calibration.folds > 1:
        text = (
            f"All of these were set on the {count}test images, which no network was trained on. Quality is measured "
            f"without that: each of {calibration.folds} parts of them was tested with what the others alone say."
        )
    if recalibration is not None:
        text = (
            f"All of these, and all figures of quality, are of {count}labelled pictures of "
            f"{len(recalibration.pictures)} classes in the folder {_text(recalibration.folder)}, on which version "
            f"{recalibration.calibration_of} was calibrated anew. The level files are those of version "
            f"{recalibration.files_version}. Each of {calibration.folds} parts of the pictures was tested with what "
            "the others alone say; whether the network was trained on some of them is not known here."
        )
    missing = [f"α = {alpha}, which take {count:,}" for alpha, count in calibration.missing_sets.items()]
    if calibration.images and missing:
        text += f" They are too few for prediction sets at {join_words(missing)}."
    return text


def _coverage(manifest: Manifest) -> str:
    """Tabulate the measured coverage of levels that have it."""
    known = [level for level in manifest.levels if level.coverage]
    if not known:
        return ""
    kinds = [(kind, alpha) for level in known for kind, shares in level.coverage.items() for alpha in shares]
    columns: list[Column] = [
        (f"{SETS[kind]}, α = {_text(alpha)}", _covered(kind, alpha)) for kind, alpha in dict.fromkeys(kinds)
    ]
    return (
        f"{_table('level', known, columns)}\n\n"
        "The share of test images whose set contains the true class, with the draws that are served; 1 − α is what it "
        "was calibrated for. Thresholded sets are those of the service; adaptive ones (Romano et al. 2020) are random."
    )


def _ood(manifest: Manifest) -> str:
    names = list(dict.fromkeys(name for level in manifest.levels for name in level.metrics.ood_auroc))
    if not names:
        return ""
    columns = [(_text(name), _auroc(name)) for name in names]
    return (
        f"{_table('level', manifest.levels, columns)}\n\n"
        "AUROC of separating images of these sets from the test images: 0.5 is chance, 1 is perfect. It says nothing "
        "about images of any other kind."
    )


def _training(manifest: Manifest) -> str:
    training = manifest.training
    workers = "one process" if training.world_size == 1 else f"{training.world_size} processes"
    text = (
        f"{_text(training.architecture)} on {_text(training.dataset)} with the estimator "
        f"`{_code(training.estimator)}`, {training.epochs} epochs, seed {training.seed}, "
        f"{workers}, by Slimbayes {_text(training.code_version)}."
    )
    own = {name: value for name, value in training.hyperparameters.items() if name != "pruning" and value is not None}
    if own:
        text += "\n\n| hyperparameter | value |\n|---|---|\n" + "\n".join(
            f"| {_text(name)} | {_text(value)} |" for name, value in own.items()
        )
    pruned = [level for level in manifest.levels if level.granularity != "none"]
    lines = [
        f"- `{level.name}`: {_text(level.criterion)}, {level.granularity}s"
        + _pruning(training.hyperparameters, level.name)
        for level in pruned
    ]
    return text + ("\n\nPruned from it:\n\n" + "\n".join(lines) if lines else "")


def _limits(manifest: Manifest) -> str:
    sets = list(dict.fromkeys(name for level in manifest.levels for name in level.metrics.ood_auroc))
    limits = [
        "The figures are of one training and one test set, without the variation between seeds and samples.",
        "Its manifest has no figures for images that are blurred, noisy, rotated, compressed or otherwise worse than "
        "those of the test set, nor for parts of them: single classes, sources, groups of people.",
    ]
    if not sets:
        limits.append("It was not compared with images of any other kind: its behaviour on them is unknown.")
    if not any(level.calibration.out_of_distribution for level in manifest.levels):
        limits.append("No OOD score was chosen: it abstains only where it is uncertain.")
    limits += late_noise(manifest)
    if (left := manifest.training.hessian_left or 0.0) > MAX_HESSIAN_LEFT:
        limits.append(f"{left:.0%} of IVON's initial Hessian is left: scales are still those that training began with.")
    if _number(manifest.training.hyperparameters.get("limit") or 0):
        limits.append(f"It was trained on no more than {_text(manifest.training.hyperparameters['limit'])} images.")
    limits.append(
        "The posterior is mean-field: weights are independent, normal, and certain where they were pruned; the "
        "resulting uncertainty is usually too small."
    )
    if manifest.schema_version < SCHEMA_VERSION:
        limits.append(f"Its manifest is of schema {manifest.schema_version}, which lacks fields of newer ones.")
    return "\n".join(f"- {limit}" for limit in limits)


def _use(manifest: Manifest) -> str:
    query = f"model={manifest.model}&version={manifest.version}"
    return (
        "```console\n"
        f"$ slimbayes models verify {manifest.model} {manifest.version}\n"
        "$ slimbayes serve\n"
        f"$ curl -F images=@picture.png 'http://127.0.0.1:8000/predict?{query}'\n"
        "```\n\n"
        "Images of any size are resized to the one above, pixels as decoded; scaling is in the file. `level=`, "
        "`samples=` and `alpha=` select another level, number of draws and prediction set. Each level's `model.onnx` "
        "also runs by itself in ONNX Runtime: one run is one draw; average the softmax of logits divided by the "
        "temperature over as many draws as the table says; a mixture picks one of its members in each run. All "
        "sessions of a process repeat the same draws, unless these two lines come before each of them, with other "
        "numbers:\n\n"
        "```python\n"
        "import onnxruntime\n"
        "onnxruntime.set_seed(7)  # before the session is created\n"
        "```"
    )


def _table(first: str, levels: Sequence[Level], columns: Sequence[Column]) -> str:
    head = f"| {first} | " + " | ".join(title for title, _ in columns) + " |"
    rows = [f"| {level.name} | " + " | ".join(show(level) for _, show in columns) + " |" for level in levels]
    return "\n".join([head, "|---|" + "--:|" * len(columns), *rows])


def _ood_threshold(level: Level) -> str:
    rule = level.calibration.out_of_distribution
    return "—" if rule is None else f"{SCORES[rule.score]} {rule.above:.4f}"


def _quantile(alpha: str) -> Callable[[Level], str]:
    return lambda level: _figure(level.calibration.conformal_quantiles.get(alpha))


def _covered(kind: SetKind, alpha: str) -> Callable[[Level], str]:
    return lambda level: _share(level.coverage.get(kind, {}).get(alpha))


def _auroc(name: str) -> Callable[[Level], str]:
    return lambda level: _figure(level.metrics.ood_auroc.get(name))


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.2%}"


def _pruning(hyperparameters: dict[str, Any], level: str) -> str:
    """Describe how a level was pruned, as far as recorded."""
    how = hyperparameters.get("pruning")
    found = how.get(level) if isinstance(how, dict) else None
    tuning = found.get("tuning") if isinstance(found, dict) else None
    if not isinstance(tuning, dict):
        return ""
    return ", " + ", ".join(f"{_text(name)} {_text(value)}" for name, value in tuning.items())


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _text(value: object) -> str:
    """Escape words of a manifest, which are never Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", printable(" ".join(str(value).split())))


def _code(value: str) -> str:
    return printable(" ".join(value.replace("`", "'").split()))
