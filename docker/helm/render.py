"""Writes the plain manifests of docker/kubernetes from the chart: `make manifests`.

With `--check` it writes nothing, and ends with 1 where a file is not what the chart makes. Needs the group `deploy`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import helm_python
import yaml

HELM = Path(__file__).resolve().parent
KUBERNETES = HELM.parent / "kubernetes"
HEADER = "# Written by `make manifests` from docker/helm: change it there.\n"
# What says that Helm has it in its hands, which is not so here.
HELMS_OWN = ("helm.sh/chart: ", "app.kubernetes.io/managed-by: ")
MONITORING = ("servicemonitor.yaml", "prometheusrule.yaml", "dashboard.yaml")


def made() -> Iterator[tuple[Path, str]]:
    """Every file, and what it should hold."""
    base, fleet, kserve = (rendered(name) for name in ("zoo", "s3", "kserve"))
    for name, text in base.items():
        yield KUBERNETES / "base" / name, text
    for name in MONITORING:
        yield KUBERNETES / "components" / "monitoring" / name, fleet[name]
    for name, text in kserve.items():
        yield KUBERNETES / "kserve" / name, text


def rendered(values: str) -> dict[str, str]:
    """The manifests for values/NAME.yaml by the names of their templates."""
    given = yaml.safe_load((HELM / "values" / f"{values}.yaml").read_text())
    with helm_python.Chart.load(HELM / "slimbayes") as chart:
        files = chart.render(given, name="slimbayes", namespace="default")
    return {
        PurePosixPath(path).name: HEADER + "".join(_kept(text))
        for path, text in files.items()
        if path.endswith(".yaml") and text.strip()
    }


def _kept(text: str) -> Iterator[str]:
    for line in text.strip().splitlines():
        if not line.strip().startswith(HELMS_OWN):
            yield f"{line.rstrip()}\n"


def main() -> None:
    """Write, or check."""
    check = sys.argv[1:] == ["--check"]
    stale = [(path, text) for path, text in made() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if check:
            print(f"{path.relative_to(HELM.parent.parent)} is not what the chart makes: run `make manifests`")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
