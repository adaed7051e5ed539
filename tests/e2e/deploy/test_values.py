"""The schema of the chart's values: all that it allows is valid, and Helm refuses all else."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.settings import Settings
from tests.support.deploy.api_server import VERSIONS, check
from tests.support.deploy.helm import CHART, Helm, Manifest, RefusedError, pod_of
from tests.support.deploy.values import drawn, leaves, resolved
from tools.gendocs import helm_values

pytestmark = pytest.mark.system
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
LEAVES = dict(leaves(SCHEMA, SCHEMA))
# What depends on the service, and what belongs to Helm.
FREE = {("global",)}
# Their own forms are the service's to check, not the chart's.
FORMED = {"cors_origins", "trusted_hosts", "proxies", "rate_limit", "metrics_key"}
RELEASES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)
relaxed = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@relaxed
@given(values=st.deferred(lambda: drawn(SCHEMA, SCHEMA)), release=RELEASES)
def test_whatever_is_allowed_is_valid(helm: Helm, values: Manifest, release: str) -> None:
    """Or it contradicts itself, and Helm says how."""
    if contradicts_itself(values):
        with pytest.raises(RefusedError) as refused:
            helm.render(values, release)
        assert refused.value.by == "template"
        return
    manifests = helm.render(values, release)
    check(manifests, VERSIONS[len(release) % len(VERSIONS)])
    pod = pod_of(manifests)
    assert values.get("podAnnotations", {}).items() <= pod["metadata"].get("annotations", {}).items()
    assert values.get("nodeSelector", {}) == pod.get("nodeSelector", {})
    assert values.get("tolerations", []) == pod.get("tolerations", [])


@relaxed
@given(given_settings=st.deferred(lambda: drawn(SCHEMA["properties"]["settings"], SCHEMA)))
def test_whatever_is_set_reaches_the_service(helm: Helm, given_settings: Manifest) -> None:
    given_settings = {name: value for name, value in given_settings.items() if name not in FORMED}
    variables = pod_of(helm.render({"settings": given_settings}))["containers"][0]["env"]
    with pytest.MonkeyPatch.context() as environment:
        for variable in variables:
            environment.setenv(variable["name"], variable["value"])
        read = Settings.read().model_dump()
    assert {name: read[name] for name in given_settings} == {
        name: TypeAdapter(Settings.model_fields[name].annotation).validate_python(value)
        for name, value in given_settings.items()
    }


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - FREE), ids=".".join)
def test_what_is_not_of_its_kind_is_refused(helm: Helm, path: tuple[str, ...]) -> None:
    for wrong in ({"no": "such"}, [["deep"]], "no such \n thing", -1, 2**60 + 0.5):
        if not allows(LEAVES[path], wrong):
            with pytest.raises(RefusedError) as refused:
                helm.render(nested(path, wrong))
            assert refused.value.by == "values", (wrong, refused.value)


@pytest.mark.parametrize("path", sorted({path[:-1] for path in LEAVES if path not in FREE}), ids=".".join)
def test_a_misspelt_value_is_refused(helm: Helm, path: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="additional properties 'replicaCuont' not allowed"):
        helm.render(nested((*path, "replicaCuont"), 1))


def test_every_value_has_a_default_and_a_schema() -> None:
    given = dict(walked(DEFAULTS))
    assert given.keys() - {("settings",)} == {
        path for path in LEAVES if path not in FREE and path[0] != "settings"
    }  # fmt: skip
    assert given[("settings",)] == {}


def test_the_settings_are_those_of_the_service() -> None:
    """Else `python -m tools.gendocs` writes them anew."""
    path, text = helm_values.generate()
    assert path.read_text() == text
    assert SCHEMA["properties"]["settings"]["properties"]["max_images"] == {
        "description": "Maximum images per request.",
        "type": "integer",
        "minimum": 1,
        "maximum": helm_values.LARGEST,
    }


def contradicts_itself(values: Manifest) -> bool:
    """Whether values that the schema allows say two things at once."""

    def of(*path: str) -> Any:
        found: Any = values
        for name in path:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        if found != {}:
            return found
        default: Any = DEFAULTS
        for name in path:
            default = default.get(name) if isinstance(default, dict) else None
        return default

    url, claim, size = of("store", "url"), of("store", "volume", "existingClaim"), of("store", "volume", "size")
    no_keys = not of("keys", "existingSecret") and not of("keys", "lines")
    metrics_key = of("settings", "metrics_key") is True
    return any(
        (
            claim and size,
            (claim or size) and url != "/store" and not url.startswith("/store/"),
            of("store", "credentials", "existingSecret") and of("store", "credentials", "variables"),
            of("keys", "existingSecret") and of("keys", "lines"),
            metrics_key and no_keys,
            metrics_key and of("monitoring", "serviceMonitor") and not of("monitoring", "keySecret", "name"),
            of("autoscaling", "minReplicas") > of("autoscaling", "maxReplicas"),
            of("kserve", "enabled") and of("ingress", "enabled"),
            of("kserve", "enabled") and of("autoscaling", "queueDraws") > 0,
        )
    )


def allows(schema: Manifest, value: Any) -> bool:
    """Whether a schema takes one of the wrong values after all."""
    validator = jsonschema.Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
    return validator.is_valid(value)


def nested(path: tuple[str, ...], value: Any) -> Manifest:
    """A value at its path."""
    for name in reversed(path):
        value = {name: value}
    return value


def walked(values: Manifest, path: tuple[str, ...] = ()) -> Any:
    """The paths of all values, as the schema has them."""
    schema: Any = SCHEMA
    for name in path:
        schema = resolved(schema, SCHEMA)["properties"][name]
    if not path or ("properties" in resolved(schema, SCHEMA) and path != ("settings",)):
        for name, each in values.items():
            yield from walked(each, (*path, name))
    else:
        yield path, values
