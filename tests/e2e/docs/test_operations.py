"""Check the generated references and the alerts of docs/guides/operations.md."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
import yaml

from tests.support.project import PROJECT
from tools.gendocs import cli, metrics, python_api, settings

OPERATIONS = PROJECT / "docs" / "guides" / "operations.md"


@pytest.mark.parametrize("generator", [cli, metrics, python_api, settings], ids=lambda module: module.__name__)
def test_the_file_is_what_the_code_says(generator: ModuleType) -> None:
    """`python -m tools.gendocs` regenerates it."""
    path, text = generator.generate()
    assert path.read_text() == text


def test_settings_have_variables_and_defaults() -> None:
    text = settings.PATH.read_text()
    assert "| `--max-images` | `SLIMBAYES_MAX_IMAGES` | `<int>` | `32` |" in text


def test_every_alert_is_explained() -> None:
    """No alert without an explanation, and no explanation without an alert."""
    rules = yaml.safe_load((PROJECT / "docker" / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    _, _, section = OPERATIONS.read_text().partition("## Metrics and alerts")
    explained = re.findall(r"\*(\w+)\*", section)
    assert sorted(f"Slimbayes{name}" for name in explained) == sorted(rule["alert"] for rule in rules)
