"""The Helm chart, rendered by Helm itself: what Kubernetes takes, and what the service makes of it."""

from __future__ import annotations

import copy
import json
import math
import re
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.testclient import TestClient

from model_store.storage.location import ZOO
from service.app import create_app
from service.errors import StartupError
from service.settings import Settings
from tests.support.deploy.api_server import VERSIONS, check
from tests.support.deploy.helm import CHART, VALUES, Helm, Manifest, RefusedError, by_kind, pod_of, values_of
from tests.support.project import PROJECT

pytestmark = pytest.mark.system
SETS = sorted(path.stem for path in VALUES.iterdir())
DEPLOYED = [name for name in SETS if name != "kserve"]
DIGEST = "0" * 64
DOCUMENT = (PROJECT / "docs" / "guides" / "deploy.md").read_text()


def environment(pod: Manifest) -> dict[str, str]:
    """The variables of a pod's container."""
    return {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}


def settings_of(pod: Manifest, monkeypatch: pytest.MonkeyPatch, **flags: Any) -> Settings:
    """What the service reads in such a pod, its paths apart."""
    for name, value in environment(pod).items():
        if name.startswith("SLIMBAYES_"):
            monkeypatch.setenv(name, value)
    return Settings.read(**flags)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", SETS)
def test_kubernetes_takes_it(helm: Helm, values: str, version: str) -> None:
    check(helm.render(values_of(values)), version)


def test_what_kubernetes_does_not_take_is_seen(helm: Helm) -> None:
    manifests = helm.render({})
    misspelt = copy.deepcopy(manifests)
    by_kind(misspelt)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        check(misspelt, VERSIONS[0])
    strangers = copy.deepcopy(manifests)
    by_kind(strangers)["Service"]["spec"]["selector"]["app.kubernetes.io/name"] = "another"
    with pytest.raises(AssertionError):
        check(strangers, VERSIONS[0])


def test_lint_finds_nothing(helm: Helm) -> None:
    assert helm.lint["errors"] == []
    assert [each["error"] for each in helm.lint["messages"]] == ["icon is recommended"]


def test_the_chart_has_the_version_of_what_it_deploys() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == project["version"]


@pytest.mark.parametrize("values", SETS)
def test_a_pod_is_locked_down(helm: Helm, values: str) -> None:
    """As the `restricted` level of Kubernetes' pod security standards wants it, and more."""
    pod = pod_of(helm.render(values_of(values)))
    (container,) = pod["containers"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable <= {"/tmp", "/cache"}


@pytest.mark.parametrize("values", SETS)
def test_probes_ask_what_they_should(helm: Helm, values: str) -> None:
    (container,) = pod_of(helm.render(values_of(values)))["containers"]
    asked = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}


def test_a_service_that_drains_is_given_the_time(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = pod_of(helm.render({"drainSeconds": 45.5, "settings": {"max_wait_ms": 7_001}}))
    settings = settings_of(pod, monkeypatch, store=ZOO)
    assert settings.drain_seconds == 45.5
    needed = settings.drain_seconds + settings.max_wait_ms / 1000
    assert needed + 10 <= pod["terminationGracePeriodSeconds"] <= needed + 30


def test_variables_of_the_clusters_services_stay_out(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes gives pods SLIMBAYES_SERVICE_HOST where there is a Service `slimbayes`, which the service refuses."""
    manifests = helm.render({})
    assert by_kind(manifests)["Service"]["metadata"]["name"] == "slimbayes"
    assert pod_of(manifests)["enableServiceLinks"] is False
    monkeypatch.setenv("SLIMBAYES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(StartupError, match="unknown setting SLIMBAYES_SERVICE_HOST"):
        Settings.read(store=ZOO)


def test_settings_reach_the_service_as_they_are(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers above all: Helm counts in floating point, and would write 1.6777217e+07."""
    given = {
        "max_pixels": 16_777_217,
        "max_body_bytes": 2**53 - 1,
        "tolerance": 0.015,
        "reload_seconds": 0,
        "allow_empty": True,
        "overload": "degrade",
        "formats": ["png", "tiff"],
        "cors_origins": [],
        "trusted_hosts": ["slimbayes.example.org", "localhost"],
        "proxies": ["10.0.0.0/8"],
        "rate_limit": "100/second",
        "log_level": "debug",
    }
    settings = settings_of(pod_of(helm.render({"settings": given})), monkeypatch, store=ZOO)
    plain = settings.model_dump(mode="json")
    assert {name: plain[name] for name in given} == given


def test_a_store_at_a_url_has_a_cache_and_credentials(helm: Helm) -> None:
    manifests = helm.render(
        {"store": {"url": "s3://b/p", "credentials": {"variables": {"AWS_SECRET_ACCESS_KEY": "x"}}}}
    )
    pod, kinds = pod_of(manifests), by_kind(manifests)
    assert environment(pod).items() >= {"SLIMBAYES_STORE": "s3://b/p", "SLIMBAYES_CACHE": "/cache"}.items()
    assert kinds["Secret"]["stringData"] == {"AWS_SECRET_ACCESS_KEY": "x"}
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": kinds["Secret"]["metadata"]["name"]}}]
    assert {port["port"] for rule in kinds["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]} == {53, 443}
    assert "x" not in environment(pod).values()


def test_other_credentials_are_other_pods(helm: Helm) -> None:
    def pod(secret: str) -> Manifest:
        variables = {"AWS_SECRET_ACCESS_KEY": secret}
        return pod_of(helm.render({"store": {"url": "s3://b/p", "credentials": {"variables": variables}}}))

    assert pod("one") == pod("one") != pod("two")


@pytest.mark.parametrize("url", ["/opt/slimbayes/zoo", "/store"])
def test_a_store_in_a_folder_has_neither(helm: Helm, url: str) -> None:
    manifests = helm.render({"store": {"url": url}})
    assert "SLIMBAYES_CACHE" not in environment(pod_of(manifests))
    assert {volume["name"] for volume in pod_of(manifests)["volumes"]} == {"tmp"}
    assert by_kind(manifests)["NetworkPolicy"]["spec"]["egress"] == []


def test_keys_are_a_file_that_the_service_reads(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.http.api_keys import Key, read_keys

    lines = [str(Key.make(name, "user")[1]) for name in ("ann", "eve")]
    manifests = helm.render({"keys": {"lines": lines}, "settings": {"metrics_key": True}})
    pod, secret = pod_of(manifests), by_kind(manifests)["Secret"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "keys"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "keys"]
    folder, _, entry = environment(pod)["SLIMBAYES_KEYS_FILE"].rpartition("/")
    assert (mount["mountPath"], volume["secret"]["secretName"]) == (folder, secret["metadata"]["name"])
    monkeypatch.setattr("pathlib.Path.read_text", lambda _: secret["stringData"][entry])
    assert [key.name for key in read_keys(PROJECT).keys] == ["ann", "eve"]


def test_tls_is_spoken_by_all_who_ask(helm: Helm) -> None:
    manifests = helm.render({"tls": {"existingSecret": "cert"}, "monitoring": {"serviceMonitor": True}})
    pod, kinds = pod_of(manifests), by_kind(manifests)
    probes = [pod["containers"][0][f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["scheme"] for probe in probes} == {"HTTPS"}
    (endpoint,) = kinds["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["serverName"] == "slimbayes.default.svc"


def test_the_autoscaler_asks_for_a_metric_that_there_is(helm: Helm) -> None:
    scaler = by_kind(helm.render({"autoscaling": {"queueDraws": 8192}}))["HorizontalPodAutoscaler"]["spec"]
    cpu, queue = scaler["metrics"]
    assert cpu["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert queue["pods"]["target"] == {"type": "AverageValue", "averageValue": "8192"}
    app = create_app(Settings(store=ZOO))
    with TestClient(app) as client:
        assert re.search(rf"^{queue['pods']['metric']['name']} 0\.0$", client.get("/metrics").text, re.MULTILINE)
    assert scaler["scaleTargetRef"]["name"] == "slimbayes"


def test_no_replicas_are_set_where_they_are_scaled(helm: Helm) -> None:
    """Else each upgrade would set them back."""
    assert "replicas" not in by_kind(helm.render({}))["Deployment"]["spec"]
    fixed = by_kind(helm.render({"autoscaling": {"enabled": False}, "replicas": 3}))
    assert fixed["Deployment"]["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler" not in fixed


def test_alerts_and_dashboard_are_those_of_the_project(helm: Helm) -> None:
    kinds = by_kind(helm.render(values_of("s3")))
    alerts = yaml.safe_load((PROJECT / "docker" / "prometheus" / "alerts.yaml").read_text())
    assert kinds["PrometheusRule"]["spec"] == alerts
    dashboard = (PROJECT / "docker" / "grafana" / "slimbayes.json").read_text()
    assert json.loads(kinds["ConfigMap"]["data"]["slimbayes.json"]) == json.loads(dashboard)
    assert kinds["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_monitors_find_their_services(helm: Helm) -> None:
    manifests = helm.render(values_of("s3"))
    kinds = by_kind(manifests)
    monitor, service = kinds["ServiceMonitor"]["spec"], kinds["Service"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    of_kserve = helm.render(values_of("kserve") | {"monitoring": {"serviceMonitor": True}})
    monitor = by_kind(of_kserve)["PodMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= pod_of(of_kserve)["metadata"]["labels"].items()
    assert monitor["podMetricsEndpoints"][0]["port"] == pod_of(of_kserve)["containers"][0]["ports"][0]["name"]


def test_kserve_runs_the_same_pod(helm: Helm) -> None:
    values = values_of("kserve")
    own, plain = pod_of(helm.render(values)), pod_of(helm.render(values | {"kserve": {"enabled": False}}))
    (container,), (of_plain,) = own.pop("containers"), plain.pop("containers")
    assert own == plain
    assert container["name"] == "kserve-container"
    assert container["env"].pop(0) == {"name": "PROTOCOL", "value": "v2"}
    same = container.keys() - {"name", "ports", "startupProbe", "readinessProbe", "livenessProbe"}
    assert {key: container[key] for key in same} == {key: of_plain[key] for key in same}


@pytest.mark.parametrize("release", ["1-a", "a.b", "x" * 53, "slimbayes", "my-slimbayes-prod"])
def test_any_release_name_will_do(helm: Helm, release: str) -> None:
    manifests = helm.render(values_of("s3") | {"autoscaling": {}}, release)
    check(manifests, VERSIONS[0])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"store": {"url": "s3://b/p", "volume": {"size": "1Gi"}}}, "mounted at /store"),
        ({"store": {"url": "/store", "volume": {"size": "1Gi", "existingClaim": "a"}}}, "set one of them"),
        ({"keys": {"existingSecret": "a", "lines": [f"a user {DIGEST}"]}}, "set one of them"),
        ({"settings": {"metrics_key": True}}, "set keys too"),
        ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "more than maxReplicas"),
        ({"kserve": {"enabled": True}, "ingress": {"enabled": True}}, "KServe makes its own"),
    ],
)
def test_values_that_contradict_each_other_are_refused(helm: Helm, values: Manifest, says: str) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        helm.render(values)
    assert refused.value.by == "template"


def test_the_grace_period_is_whole(helm: Helm) -> None:
    grace = pod_of(helm.render({"drainSeconds": 0.1}))["terminationGracePeriodSeconds"]
    assert isinstance(grace, int)
    assert grace == math.ceil(0.1) + 1 + 20


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z]\w+(?:\.\w+)+)(?:=[^`]*)?`", DOCUMENT))))
def test_a_documented_value_is_one(name: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    for part in name.split("."):
        assert part in schema["properties"], name
        schema = schema["properties"][part]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\b(docker/[\w/-]+(?:\.\w+)?)", DOCUMENT))))
def test_a_documented_file_is_there(path: str) -> None:
    assert (PROJECT / path).exists()
