"""What a person sees where there is no terminal: a line now and then, and one at the end."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from training import progress
from training.progress import Stage


def test_a_stage_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Stage("training", total=10) as stage:
        stage.advance(4, "loss 0.9")
        stage.advance(6, "loss 0.4")
    assert re.fullmatch(r"training: done in \d+\.\d s, loss 0\.4\n", capsys.readouterr().out)


def test_lines_in_between_say_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    with Stage("training", total=10) as stage:
        stage.advance(4, "loss 0.9")
    assert re.match(r"training: 40%, 0:00:0\d left, loss 0\.9\n", capsys.readouterr().out)


def test_the_first_steps_say_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and only where it is long."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Stage("training", total=1_000) as stage:
        for _ in range(12):
            now += 0.1
            stage.advance(2, "")
    assert "training: 0:00:49 left, by the first 10 steps\n" in capsys.readouterr().out
    with Stage("training", total=60) as stage:
        for _ in range(12):
            now += 0.1
            stage.advance(2, "")
    assert "left" not in capsys.readouterr().out


def test_the_time_left_is_that_of_this_process_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 of 100 were done before it began; it does 2 in 10 seconds, so that 8 take 40."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Stage("training", total=100, done=90, quiet=True) as stage:
        now = 10.0
        stage.advance(2, "")
        assert stage._time_left() == timedelta(seconds=40)


def test_a_quiet_stage_shows_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", -1.0)
    with Stage("training", total=10, quiet=True) as stage:
        stage.advance(10, "loss 0.4")
    assert capsys.readouterr() == ("", "")


def test_a_stage_that_fails_is_not_said_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="stop"), Stage("training", total=10):
        raise ValueError("stop")
    assert "done" not in capsys.readouterr().out
