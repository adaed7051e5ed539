"""Renders the chart for tests with Helm's own library, one request a line: a process apart from that of the tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import helm_python


def answer(chart: helm_python.Chart, values: dict[str, Any], name: str) -> dict[str, Any]:
    """The rendered files by their paths in the chart, or why there are none: `values` or `template`."""
    try:
        return {"files": chart.render(values, name=name, namespace="default")}
    except helm_python.HelmValuesError as error:
        return {"refused": "values", "says": str(error)}
    except helm_python.HelmRenderError as error:
        return {"refused": "template", "says": str(error)}


def main() -> None:
    """Answer until the requests end; the first answer is what lint finds."""
    path = Path(sys.argv[1])
    print(json.dumps(helm_python.lint(path, {}, strict=True)), flush=True)
    with helm_python.Chart.load(path) as chart:
        for line in sys.stdin:
            print(json.dumps(answer(chart, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
