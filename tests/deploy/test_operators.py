"""What operators read, against models made from their own schemas: Prometheus', KServe's and Kubeflow's."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.helm import BIN, PROJECT, Helm, Manifest, by_kind, values_of

HERE = Path(__file__).parent
CLIENTS = PROJECT / ".venv-clients" / "bin"
OF_PROMETHEUS = [BIN / "python", HERE / "operator_models.py"]
OF_KSERVE = [CLIENTS / "python", HERE / "openapi_models.py", "kserve.models", "V1beta1InferenceService"]
OF_KUBEFLOW = [BIN / "python", HERE / "openapi_models.py", "kubeflow.training.models", "KubeflowOrgV1PyTorchJob"]


def read(command: list[Path | str], manifest: Manifest) -> str:
    """What a reader says to a manifest; nothing where it takes it."""
    if not Path(command[0]).exists():
        pytest.skip(f"no {Path(command[0]).parents[1].name}: `make test` makes it")
    done = subprocess.run(command, input=json.dumps(manifest), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) == (not done.stdout.strip() and not done.stderr.strip()), done
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def manifests(helm: Helm) -> dict[str, Manifest]:
    tls = {"tls": {"existingSecret": "cert"}}
    key = {"monitoring": {"serviceMonitor": True, "prometheusRule": True, "keySecret": {"name": "key"}}}
    kserve = by_kind(helm.render(values_of("kserve") | tls | key))
    job = yaml.safe_load((PROJECT / "docker" / "kubernetes" / "train" / "pytorchjob.yaml").read_text())
    return by_kind(helm.render(values_of("s3") | tls | key)) | kserve | {"PyTorchJob": job}


@pytest.mark.parametrize(
    ("kind", "reader", "field"),
    [
        ("ServiceMonitor", OF_PROMETHEUS, "endpoints"),
        ("PodMonitor", OF_PROMETHEUS, "podMetricsEndpoints"),
        ("PrometheusRule", OF_PROMETHEUS, "groups"),
        ("InferenceService", OF_KSERVE, "predictor"),
        ("PyTorchJob", OF_KUBEFLOW, "elasticPolicy"),
    ],
)
def test_operators_take_them(manifests: dict[str, Manifest], kind: str, reader: list[Path | str], field: str) -> None:
    assert read(reader, manifests[kind]) == ""
    misspelt = copy.deepcopy(manifests[kind])
    part = misspelt["spec"][field]
    (part[0] if isinstance(part, list) else part)["misspelt"] = 1
    assert "misspelt" in read(reader, misspelt)
