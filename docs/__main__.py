"""`python -m docs`: write what comes from the code."""

from __future__ import annotations

from docs import api, chart, settings

for path, text in (api.made(), settings.made(), chart.made()):
    path.write_text(text)
