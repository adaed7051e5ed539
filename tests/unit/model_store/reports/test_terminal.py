"""Words of unknown origin in tables: no markup."""

from __future__ import annotations

import io

from rich.console import Console

from model_store.reports.terminal import cell


def test_brackets_are_no_markup() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=80).print(cell("[red]x[/] [link=http://a]y"))
    assert out.getvalue() == "[red]x[/] [link=http://a]y\n"
