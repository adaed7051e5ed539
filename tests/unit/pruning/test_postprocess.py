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
    postprocess = PostprocessConfig.parse("all")
    assert all(postprocess.for_level(CONFIG, level).eight_bits for level in (P80, X4))
    assert postprocess.for_level(CONFIG, DENSE) == CONFIG


def test_each_its_own() -> None:
    """Levels that are not named stay as they are."""
    postprocess = PostprocessConfig.parse("p80 ,")
    postprocess.check([DENSE, P80, X4])
    assert [postprocess.for_level(CONFIG, level).eight_bits for level in (P80, X4)] == [True, False]
    with pytest.raises(LevelError, match="asked for p80: expected some of x4"):
        postprocess.check([DENSE, X4])
    with pytest.raises(LevelError, match="asked for dense: expected some of p80"):
        PostprocessConfig.parse("dense").check([DENSE, P80])


@pytest.mark.parametrize("text", ["half", "p80,all", "p80;x4"])
def test_what_is_no_level(text: str) -> None:
    with pytest.raises(LevelError, match="is not a level: expected"):
        PostprocessConfig.parse(text)
