"""The table of levels: accuracy stands with the interval of its images, where they are counted, in eighty columns."""

from __future__ import annotations

from rich.console import Console

from model_store.manifest import Level, read_manifest
from model_store.reports.tables import levels_table
from tests.support.stores import GOLDEN


def shown(levels: tuple[Level, ...]) -> str:
    console = Console(width=80, record=True)
    console.print(levels_table(levels))
    return console.export_text()


def test_accuracy_has_its_interval() -> None:
    text = shown(read_manifest(GOLDEN.read_bytes()).levels)
    assert "91.82%" in text
    assert "91.3-92.3 " in text
    assert "accuracy on 10,000 test images, and its 95 % interval" in text
    assert max(map(len, text.splitlines())) <= 80


def test_images_that_are_not_counted_are_not_made_up() -> None:
    text = shown(read_manifest(GOLDEN.with_name("manifest-v1.json").read_bytes()).levels)
    assert "91.82%" in text
    assert "interval" not in text
