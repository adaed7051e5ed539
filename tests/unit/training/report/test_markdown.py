"""Tables of a report."""

from __future__ import annotations

from training.report.markdown import table


def test_a_table_is_aligned_by_its_second_line() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"
