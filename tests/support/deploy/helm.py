"""Helm for tests: the chart rendered by Helm's own library, in a process of its own."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.project import PROJECT

CHART = PROJECT / "docker" / "helm" / "slimbayes"
VALUES = PROJECT / "docker" / "helm" / "values"
BIN = PROJECT / ".venv-deploy" / "bin"
Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm refused the values: they are not in the schema (`by` is values), or contradict each other (template)."""

    def __init__(self, by: str, says: str) -> None:
        super().__init__(says)
        self.by = by


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a key that stands there twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"a key twice among {keys}", node.start_mark)
        return super().construct_mapping(node, deep)


# Kubernetes' reader knows no such type: `=` is a text to it.
_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def parsed(text: str) -> list[Manifest]:
    """The manifests in a text; raise yaml.YAMLError where it is not what Kubernetes would read."""
    return [manifest for manifest in yaml.load_all(text, _Loader) if manifest is not None]


def missing_requirement() -> str | None:
    """Why charts cannot be rendered here, or None."""
    if not BIN.exists():
        return "no .venv-deploy: `make test-system` makes it"
    found = subprocess.run([BIN / "python", "-c", "import helm_python"], capture_output=True, check=False)
    return f"no Helm library for {platform.system()} on {platform.machine()}" if found.returncode else None


class Helm:
    """The chart, and what lint finds in it."""

    def __init__(self, worker: subprocess.Popen[str]) -> None:
        self._worker = worker
        self.lint = json.loads(self._line())

    def files(self, values: Manifest, name: str = "slimbayes") -> dict[str, str]:
        """What a release consists of, by the name of the template; raise RefusedError."""
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps({"values": values, "name": name}) + "\n")
        self._worker.stdin.flush()
        answer = json.loads(self._line())
        if "refused" in answer:
            raise RefusedError(answer["refused"], answer["says"])
        return {Path(path).name: text for path, text in answer["files"].items()}

    def render(self, values: Manifest, name: str = "slimbayes") -> list[Manifest]:
        """The manifests of a release; raise RefusedError."""
        files = self.files(values, name)
        return [each for path, text in files.items() if path.endswith(".yaml") for each in parsed(text)]

    def _line(self) -> str:
        assert self._worker.stdout is not None
        return self._worker.stdout.readline()


@contextmanager
def open_helm() -> Iterator[Helm]:
    """Helm with our chart loaded."""
    command = [BIN / "python", Path(__file__).with_name("helm_worker.py"), CHART]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as worker:
        try:
            yield Helm(worker)
        finally:
            worker.kill()


def values_of(name: str) -> Manifest:
    """A set of values that comes with the chart."""
    return yaml.safe_load((VALUES / f"{name}.yaml").read_text())


def by_kind(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Manifests by their kinds; there is one of each."""
    kinds = {manifest["kind"]: manifest for manifest in manifests}
    assert len(kinds) == len(manifests)
    return kinds


def pod_of(manifests: list[Manifest]) -> Manifest:
    """The pod's spec of a release, with its labels as `metadata`."""
    kinds = {manifest["kind"]: manifest for manifest in manifests}
    if "Deployment" in kinds:
        template = kinds["Deployment"]["spec"]["template"]
        return template["spec"] | {"metadata": template["metadata"]}
    predictor = dict(kinds["InferenceService"]["spec"]["predictor"])
    own = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "deploymentStrategy"}
    metadata = {key: predictor.pop(key) for key in ("labels", "annotations") if key in predictor}
    return {key: each for key, each in predictor.items() if key not in own} | {"metadata": metadata}
