"""The settings of `slimbayes serve` as a table, between two marks in operations.md."""

from __future__ import annotations

from pathlib import Path

from service.cli.serve import choices, shown_default
from service.settings import Settings

PATH = Path(__file__).parent / "operations.md"
BEGIN = "<!-- Settings: written by `python -m docs`. -->\n"
END = "<!-- End of the settings. -->\n"


def made() -> tuple[Path, str]:
    """The file, and what it should hold."""
    before, _, rest = PATH.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return PATH, f"{before}{BEGIN}{table()}{END}{after}"


def table() -> str:
    """One line a setting, in the order of `slimbayes serve --help`."""
    lines = ["| flag | variable | value | default | meaning |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        value = "" if field.annotation is bool else f"`{choices(field.annotation)}`".replace("|", "\\|")
        default = shown_default(field.default)
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{flag}` | `SLIMBAYES_{name.upper()}` | {value} | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"
