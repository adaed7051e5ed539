"""What operators read, against models made from their own schemas: Prometheus', KServe's and Kubeflow's."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.deploy.helm import BIN, Helm, Manifest, by_kind, values_of
from tests.support.project import PROJECT
from tests.support.requirements import interpreter
from tests.support.waiting import HANG_S

pytestmark = pytest.mark.system
MODELS = PROJECT / "tests" / "support" / "deploy"
CLIENTS = PROJECT / ".venv-clients" / "bin"
OF_PROMETHEUS = [BIN / "python", MODELS / "operator_models.py"]
OF_KSERVE = [CLIENTS / "python", MODELS / "openapi_models.py", "kserve.models", "V1beta1InferenceService"]
OF_KUBEFLOW = [BIN / "python", MODELS / "openapi_models.py", "kubeflow.training.models", "KubeflowOrgV1PyTorchJob"]


def read(command: list[Path | str], manifests: list[Manifest]) -> list[list[str]]:
    """What a reader does not like in each manifest."""
    interpreter(Path(command[0]).parents[1])
    done = subprocess.run(
        command, input=json.dumps(manifests), capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def manifests(helm: Helm) -> dict[str, Manifest]:
    tls = {"tls": {"existingSecret": "cert"}}
    key = {"monitoring": {"serviceMonitor": True, "prometheusRule": True, "keySecret": {"name": "key"}}}
    kserve = by_kind(helm.render(values_of("kserve") | tls | key))
    job = yaml.safe_load((PROJECT / "docker" / "kubernetes" / "train" / "pytorchjob.yaml").read_text())
    return by_kind(helm.render(values_of("s3") | tls | key)) | kserve | {"PyTorchJob": job}


@pytest.mark.parametrize(
    ("reader", "kinds"),
    [
        (
            OF_PROMETHEUS,
            {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints", "PrometheusRule": "groups"},
        ),
        (OF_KSERVE, {"InferenceService": "predictor"}),
        (OF_KUBEFLOW, {"PyTorchJob": "elasticPolicy"}),
    ],
    ids=["prometheus", "kserve", "kubeflow"],
)
def test_operators_take_them(manifests: dict[str, Manifest], reader: list[Path | str], kinds: dict[str, str]) -> None:
    """And not what is misspelt: in a part of each kind's spec, or in the first of its items."""
    sound = [manifests[kind] for kind in kinds]
    misspelt = copy.deepcopy(sound)
    for manifest, part in zip(misspelt, kinds.values(), strict=True):
        found = manifest["spec"][part]
        (found[0] if isinstance(found, list) else found)["misspelt"] = 1
    faults = read(reader, sound + misspelt)
    assert faults[: len(kinds)] == [[]] * len(kinds)
    for fault in faults[len(kinds) :]:
        assert len(fault) == 1
        assert "misspelt" in fault[0]
