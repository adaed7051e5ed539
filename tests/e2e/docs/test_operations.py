"""docs/operations.md: its table of settings is that of the service, and it speaks of every alert."""

from __future__ import annotations

import re

import yaml

from docs import settings
from tests.support.project import PROJECT


def test_the_table_is_what_the_code_says() -> None:
    """Else `python -m docs` writes it anew."""
    path, text = settings.made()
    assert path.read_text() == text
    assert "| `--max-images` | `SLIMBAYES_MAX_IMAGES` | `<int>` | `32` |" in text


def test_every_alert_is_explained() -> None:
    """And none that there is not."""
    rules = yaml.safe_load((PROJECT / "docker" / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    _, _, section = settings.PATH.read_text().partition("## Metrics and alerts")
    explained = re.findall(r"\*(\w+)\*", section)
    assert sorted(f"Slimbayes{name}" for name in explained) == sorted(rule["alert"] for rule in rules)


def test_links_lead_somewhere() -> None:
    """To files that there are, and headings of these files."""
    text = settings.PATH.read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert (settings.PATH.parent / target).exists(), target
    assert "\n## Keys\n" in text  # where api.md leads to
