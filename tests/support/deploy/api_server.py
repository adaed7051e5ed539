"""What an API server refuses in what the chart makes: Kubernetes' schemas, and rules that stand in its code only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate

from tests.support.deploy.helm import Manifest, pod_of

VERSIONS = ("1.31", "1.34", "1.37")
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})", re.ASCII)
QUANTITY = re.compile(r"[0-9]+(m|Mi|Gi|Ti)?")
# Of operators: their schemas are looked at elsewhere.
CUSTOM = {"InferenceService", "ServiceMonitor", "PodMonitor", "PrometheusRule"}


def check(manifests: list[Manifest], version: str) -> None:
    """Raise AssertionError, or kubernetes_validate's ValidationError, for what an API server would not take."""
    named = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(named) == len(set(named)), named
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)
        _check_metadata(manifest["metadata"])
    pod = pod_of(manifests)
    spec = {key: each for key, each in pod.items() if key != "metadata"}
    as_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", **pod["metadata"]}, "spec": spec}
    kubernetes_validate.validate(as_pod, version, strict=True)
    _check_metadata(as_pod["metadata"])
    _check_pod(spec)
    for manifest in manifests:
        rule = RULES.get(manifest["kind"])
        if rule:
            rule(manifest["spec"], pod["metadata"]["labels"])
        if manifest["kind"] == "Service":
            assert SERVICE.fullmatch(manifest["metadata"]["name"])


def _check_metadata(metadata: Manifest) -> None:
    assert _is_subdomain(metadata["name"]), metadata["name"]
    for key, value in metadata.get("labels", {}).items():
        assert _is_key(key), key
        assert value == "" or LABEL.fullmatch(value), value
    for key, value in metadata.get("annotations", {}).items():
        assert _is_key(key), key
        assert isinstance(value, str)


def _check_pod(pod: Manifest) -> None:
    (container,) = pod["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names)), names
    assert all("$(" not in variable["value"] for variable in container["env"])
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert len(volumes) == len(set(volumes))
    mounts = container["volumeMounts"]
    assert {mount["name"] for mount in mounts} == set(volumes)
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
    (port,) = container["ports"]
    assert re.fullmatch(r"(?=.*[a-z])[a-z0-9]{1,15}", port["name"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
        assert container[probe]["failureThreshold"] >= 1
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert all(QUANTITY.fullmatch(each) for each in container["resources"]["limits"].values())
    assert IMAGE.fullmatch(container["image"]), container["image"]
    for name in _references(pod):
        assert _is_subdomain(name), name
    for key, value in pod.get("nodeSelector", {}).items():
        assert _is_key(key)
        assert value == "" or LABEL.fullmatch(value)
    for toleration in pod.get("tolerations", []):
        assert toleration["operator"] == "Equal" or "value" not in toleration
        assert toleration["operator"] == "Exists" or toleration["key"]


def _references(pod: Manifest) -> Iterator[str]:
    """Names of other objects that a pod speaks of."""
    yield pod["serviceAccountName"]
    yield from (each["name"] for each in pod.get("imagePullSecrets", []))
    yield from ([pod["priorityClassName"]] if "priorityClassName" in pod else [])
    yield from (each["secretRef"]["name"] for each in pod["containers"][0].get("envFrom", []))
    for volume in pod["volumes"]:
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]


def _deployment(spec: Manifest, labels: dict[str, str]) -> None:
    assert spec["selector"]["matchLabels"].items() <= labels.items()


def _service(spec: Manifest, labels: dict[str, str]) -> None:
    assert spec["selector"].items() <= labels.items()


def _autoscaler(spec: Manifest, _: Any) -> None:
    assert 1 <= spec["minReplicas"] <= spec["maxReplicas"]
    for metric in spec["metrics"]:
        if metric["type"] == "Pods":
            assert re.fullmatch(r"[1-9][0-9]*", metric["pods"]["target"]["averageValue"])


def _budget(spec: Manifest, labels: dict[str, str]) -> None:
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert re.fullmatch(r"[1-9][0-9]*|([1-9][0-9]?|100)%", str(spec["maxUnavailable"]))


def _policy(spec: Manifest, labels: dict[str, str]) -> None:
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    for rule in spec["ingress"]:
        assert rule.get("from") != [], "an empty list is everybody, which should be said by saying nothing"
        for peer in rule.get("from", []):
            assert peer.keys() == {"ipBlock"} or peer.keys() <= {"namespaceSelector", "podSelector"}


def _ingress(spec: Manifest, _: Any) -> None:
    for rule in spec["rules"]:
        assert "host" not in rule or _is_subdomain(rule["host"].removeprefix("*."))
        for path in rule["http"]["paths"]:
            assert path["path"].startswith("/")
            assert "//" not in path["path"]
            assert not {".", ".."} & set(path["path"].split("/"))


RULES = {
    "Deployment": _deployment,
    "Service": _service,
    "HorizontalPodAutoscaler": _autoscaler,
    "PodDisruptionBudget": _budget,
    "NetworkPolicy": _policy,
    "Ingress": _ingress,
}


def _is_subdomain(name: str) -> bool:
    return len(name) <= 253 and all(DNS_LABEL.fullmatch(part) for part in name.split("."))


def _is_key(key: str) -> bool:
    *prefix, name = key.split("/")
    return len(prefix) <= 1 and all(map(_is_subdomain, prefix)) and LABEL.fullmatch(name) is not None
