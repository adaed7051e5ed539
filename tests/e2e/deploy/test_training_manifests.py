"""What starts training elsewhere: Kubernetes manifests, the Slurm script, and the commands that the docs name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from torch.distributed import run as torchrun

from tests.support.project import PROJECT
from training.cli.train import app

FOLDER = PROJECT / "docker" / "kubernetes" / "train"
DOCUMENT = (PROJECT / "docs" / "guides" / "distributed.md").read_text().replace("\\\n", " ")
Manifest = dict[str, Any]


def _manifests(name: str) -> dict[str, Manifest]:
    """The manifests of a file by their kind and name."""
    found = yaml.safe_load_all((FOLDER / name).read_text())
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


VOLUMES = _manifests("volumes.yaml")
JOB = _manifests("job.yaml")
ELASTIC = _manifests("pytorchjob.yaml")["PyTorchJob/slimbayes-train"]
JOB_SPEC = JOB["Job/slimbayes-train"]["spec"]
JOB_POD = JOB_SPEC["template"]["spec"]
ELASTIC_POD = ELASTIC["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
PODS = pytest.mark.parametrize("pod", [JOB_POD, ELASTIC_POD], ids=["job", "pytorchjob"])


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", [*VOLUMES, *JOB])
def test_kubernetes_takes_the_manifests(name: str, version: str) -> None:
    kubernetes_validate.validate((VOLUMES | JOB)[name], version, strict=True)


@PODS
def test_kubernetes_takes_the_pods(pod: Manifest) -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}, "spec": pod}
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_is_seen() -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "train"}, "spec": JOB_POD | {"subDomain": "x"}}
    with pytest.raises(kubernetes_validate.ValidationError, match="subDomain"):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@PODS
def test_a_pod_is_locked_down(pod: Manifest) -> None:
    """As the `restricted` level of Kubernetes' pod security standards wants it, and more."""
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


@PODS
def test_volumes_are_there_and_mounted(pod: Manifest) -> None:
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == volumes.keys()
    claims = {
        volume["persistentVolumeClaim"]["claimName"] for volume in volumes.values() if "persistentVolumeClaim" in volume
    }
    assert {f"PersistentVolumeClaim/{claim}" for claim in claims} == VOLUMES.keys()
    options = dict(argument.split("=", 1) for argument in container["args"] if "=" in argument)
    assert mounts[options["--data-dir"]]["readOnly"]
    assert not mounts[str(Path(options["--out"]).parent)].get("readOnly")


def test_all_pods_of_the_job_meet_at_its_first() -> None:
    launch, _ = _parsed(_command(JOB_POD))
    (container,), service = JOB_POD["containers"], JOB["Service/slimbayes-train"]
    own = {"batch.kubernetes.io/job-name": JOB["Job/slimbayes-train"]["metadata"]["name"]}
    assert JOB_SPEC["completionMode"] == "Indexed"
    assert JOB_SPEC["completions"] == JOB_SPEC["parallelism"] == int(launch.nnodes)
    assert launch.master_addr == f"{JOB['Job/slimbayes-train']['metadata']['name']}-0.{service['metadata']['name']}"
    assert JOB_POD["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == own
    assert [port["port"] for port in service["spec"]["ports"]] == [launch.master_port]
    assert [port["containerPort"] for port in container["ports"]] == [launch.master_port]
    assert "--node-rank=$(JOB_COMPLETION_INDEX)" in container["args"]
    policy = JOB["NetworkPolicy/slimbayes-train"]["spec"]
    assert policy["podSelector"] == policy["ingress"][0]["from"][0]["podSelector"] == {"matchLabels": own}


def test_the_operator_finds_what_it_looks_for() -> None:
    """kubeflow/training-operator v1.9: pkg/apis/kubeflow.org/v1/pytorch_types.go, common_types.go."""
    spec, (container,) = ELASTIC["spec"], ELASTIC_POD["containers"]
    assert ELASTIC["apiVersion"] == "kubeflow.org/v1"
    assert spec.keys() <= {"runPolicy", "elasticPolicy", "pytorchReplicaSpecs", "nprocPerNode"}
    assert spec["nprocPerNode"] == "1", "a string; the default is as many as the host has cores"
    assert spec["runPolicy"].keys() <= {"cleanPodPolicy", "backoffLimit"}
    policy, worker = spec["elasticPolicy"], spec["pytorchReplicaSpecs"]["Worker"]
    assert policy.keys() <= {"rdzvBackend", "rdzvId", "minReplicas", "maxReplicas", "maxRestarts"}
    assert policy["rdzvBackend"] == "c10d"
    assert policy["minReplicas"] <= worker["replicas"] <= policy["maxReplicas"]
    assert spec["pytorchReplicaSpecs"].keys() == {"Worker"}, "an elastic job has no master"
    assert worker.keys() == {"replicas", "restartPolicy", "template"}
    assert worker["restartPolicy"] in {"Always", "OnFailure", "Never", "ExitCode"}
    assert container["name"] == "pytorch"
    assert container["ports"] == [{"name": "pytorchjob-port", "containerPort": 23456}]


def test_both_kinds_of_job_do_the_same() -> None:
    (of_job,), (of_operator,) = JOB_POD["containers"], ELASTIC_POD["containers"]
    assert _parsed(_command(JOB_POD))[1] == _parsed(_command(ELASTIC_POD))[1]
    for field in ("image", "imagePullPolicy", "command", "resources", "securityContext", "volumeMounts"):
        assert of_job[field] == of_operator[field], field
    assert JOB_POD["securityContext"] == ELASTIC_POD["securityContext"]
    assert JOB_POD["volumes"] == ELASTIC_POD["volumes"]


@PODS
def test_a_pods_command_is_understood(pod: Manifest) -> None:
    _, training = _parsed(_command(pod))
    assert training["resume"]


@pytest.mark.parametrize("line", re.findall(r"^\$ (.*torchrun .*)$", DOCUMENT, re.MULTILINE))
def test_a_documented_command_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)
    _, training = _parsed(words[words.index("torchrun") :])
    assert training["out"] == Path("runs/digits")


def test_a_misspelt_option_is_seen() -> None:
    with pytest.raises(Exception, match="No such option: --resme"):
        _parsed(["torchrun", "-m", "training", "--resme"])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b((?:docker|tests)/[\w/-]+\.(?:py|sh|yaml))", DOCUMENT))))
def test_a_documented_file_is_there(path: str) -> None:
    assert (PROJECT / path).is_file()


def test_the_slurm_script_is_sound() -> None:
    script = PROJECT / "docker" / "slurm.sh"
    checked = subprocess.run([Path(sys.executable).with_name("shellcheck"), script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert re.search(r"^#SBATCH --requeue$", script.read_text(), re.MULTILINE)


def _command(pod: Manifest) -> list[str]:
    (container,) = pod["containers"]
    return [
        argument.replace("$(JOB_COMPLETION_INDEX)", "0") for argument in (*container["command"], *container["args"])
    ]


def _parsed(command: list[str]) -> tuple[Namespace, dict[str, Any]]:
    """What torchrun and the training make of a command line; they raise where they do not know an option."""
    assert command[0] == "torchrun"
    launch = torchrun.parse_args(command[1:])
    if launch.no_python:
        assert (launch.training_script, launch.training_script_args[0]) == ("slimbayes", "train")
        arguments = launch.training_script_args[1:]
    else:
        assert (launch.module, launch.training_script) == (True, "training")
        arguments = launch.training_script_args
    with typer.main.get_command(app).make_context("train", arguments) as context:
        return launch, dict(context.params)
