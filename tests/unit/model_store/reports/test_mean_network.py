"""What draws gain over their mean, in tables of eighty columns and in Markdown."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from model_store.manifest import read_manifest
from model_store.reports.mean_network import gain_text, mean_markdown, mean_table
from tests.support.stores import GOLDEN

OLD = GOLDEN.with_name("manifest-v3.json")


def test_every_level_has_a_row() -> None:
    """With the figures of its mean network, or none where they are unknown."""
    dense, p80 = read_manifest(GOLDEN.read_bytes()).levels
    rows = mean_markdown([dense, p80]).splitlines()[2:]
    assert rows[0] == "| dense | 32 | 1.170 | 91.76% | 0.2611 | 0.0093 | 0.0064 ± 0.0011 |"
    assert p80.mean_network is not None
    assert rows[1].endswith(f"| {gain_text(p80.mean_network)} |")
    assert mean_markdown(read_manifest(OLD.read_bytes()).levels).splitlines()[2] == "| dense | 32 | — | — | — | — | — |"


def test_the_table_has_eighty_columns() -> None:
    shown = StringIO()
    Console(file=shown, width=80).print(mean_table(read_manifest(GOLDEN.read_bytes()).levels))
    text = shown.getvalue()
    assert "0.0064 ± 0.0011" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
