"""What is done to levels once they are pruned, as it is written."""

from __future__ import annotations

import pytest

from pruning.errors import LevelError
from pruning.level import DENSE, Level
from pruning.postprocess import PostprocessConfig
from pruning.pruner import PruningConfig

P80, X4 = Level("p", 80), Level("x", 4)
CONFIG = PruningConfig()


def test_one_for_all() -> None:
    """But the dense level, which others are compared with."""
    postprocess = PostprocessConfig.parse("0.05", "all")
    for level in (P80, X4):
        assert (postprocess.for_level(CONFIG, level).scale_budget, postprocess.for_level(CONFIG, level).eight_bits) == (
            0.05,
            True,
        )
    assert postprocess.for_level(CONFIG, DENSE) == CONFIG


def test_each_its_own() -> None:
    """Levels that are not named stay as they are."""
    postprocess = PostprocessConfig.parse("p80=0.04, x4 = 0.07", "p80 ,")
    postprocess.check([DENSE, P80, X4])
    found = [postprocess.for_level(CONFIG, level) for level in (P80, X4, Level("p", 90))]
    assert [(config.scale_budget, config.eight_bits) for config in found] == [(0.04, True), (0.07, False), (0.0, False)]
    with pytest.raises(LevelError, match="for x4: expected some of p80"):
        postprocess.check([DENSE, P80])
    with pytest.raises(LevelError, match="for dense: expected some of p80"):
        PostprocessConfig.parse("0", "dense").check([DENSE, P80])


@pytest.mark.parametrize("text", ["", "much", "-0.1", "0.9", "nan", "p80=", "p80=0.1,0.2", "half=0.1", "p80=0.1,"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(LevelError, match=r"is not a (scale budget|level): expected"):
        PostprocessConfig.parse(text, "")


@pytest.mark.parametrize("text", ["half", "p80,all", "p80;x4"])
def test_what_is_no_level(text: str) -> None:
    with pytest.raises(LevelError, match="is not a level: expected"):
        PostprocessConfig.parse("0", text)
