"""Write every generated file: `python -m tools.gendocs`."""

from __future__ import annotations

from tools.gendocs import cli, helm_values, http_api, metrics, python_api, settings

for module in (http_api, settings, cli, python_api, metrics, helm_values):
    path, text = module.generate()
    path.write_text(text)
