"""`slimbayes serve`: every setting is a flag."""

from __future__ import annotations

from typer.testing import CliRunner

from service.cli.serve import serve_app
from service.settings import Settings


def test_every_setting_is_a_flag() -> None:
    """With its description, and its default where it has one."""
    shown = CliRunner(env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).invoke(serve_app, ["--help"]).output
    words = " ".join(shown.replace("│", " ").split())
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')} " in words
        assert field.description
        assert field.description in words
    assert "[default: 127.0.0.1]" in words
    assert "[default: png,jpeg,webp,bmp,gif]" in words
