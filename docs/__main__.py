"""`python -m docs`: write what comes from the code."""

from __future__ import annotations

from docs import api, settings

for path, text in (api.made(), settings.made()):
    path.write_text(text)
