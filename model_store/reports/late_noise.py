"""Explain the epistemic uncertainty of levels whose first layers are the same for every draw."""

from __future__ import annotations

from collections.abc import Iterable

from model_store.manifest import Level, Manifest
from model_store.onnx_file.format import LOGITS, PIXELS


def late_noise(manifest: Manifest) -> Iterable[str]:
    """Explain the mutual information of levels whose first layers are the same for every draw."""
    late = [level for level in manifest.levels if _shared(level) - {PIXELS, LOGITS}]
    if late:
        figures = join_words(f"{level.metrics.mutual_information:.4f} at `{level.name}`" for level in late)
        whole = [level for level in manifest.levels if level not in late and LOGITS not in _shared(level)]
        comparison = "".join(
            f", and {level.metrics.mutual_information:.4f} at `{level.name}`, random throughout" for level in whole[:1]
        )
        yield (
            "Only the last layers of some levels are random, so the epistemic part of their uncertainty (the mutual "
            "information of label and weights) is that of these layers alone: in nats, on average over the test set, "
            f"{figures}{comparison}. Compare it between images of one level, never between levels."
        )
    for level in manifest.levels:
        if _shared(level) == {LOGITS} and level.members > 1:
            yield f"`{level.name}` has no random weight: its epistemic uncertainty is what its members differ by."
        elif LOGITS in _shared(level):
            yield f"`{level.name}` has no random weight: all draws are the same, and its epistemic uncertainty is zero."


def _shared(level: Level) -> set[str]:
    """Return where the parts end that all draws share, whichever member's they are."""
    return {name.partition(".")[2] if level.members > 1 else name for name in level.shared}


def join_words(parts: Iterable[str]) -> str:
    """Join words by commas, the last by "and"."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last
