"""Collect the names that clients, dashboards and scripts depend on, as plain JSON documents.

Prose is left out, so that it may be rewritten; names, types, defaults, choices and status codes are not.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import typer
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from pyarrow import parquet
from typer.testing import CliRunner

import model_store
from service.app import create_app
from service.errors import RequestError
from service.settings import Settings

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]
ZOO, MODEL = Path(model_store.__file__).parent / "zoo", "cifar10-resnet20"
PACKAGES = ("model_store", "pruning", "service", "slimbayes", "training")
# Keys of an OpenAPI document whose text is for people, and examples, which are checked by the tests of the routes.
PROSE = ("description", "summary", "title")
EXAMPLES = ("example", "examples")
# Labels with a fixed vocabulary, which belongs to the interface as much as the label does.
VOCABULARIES = ("outcome", "route", "stage")
# How often a service is asked whether it is ready depends on the machine.
POLLED = "/readyz"
PICTURE = {"Content-Type": "image/png"}


def without_prose(part: Any, *, names: bool = False) -> Any:
    """Drop text for people from an OpenAPI document; with `names`, keys are names of things, such as properties."""
    if isinstance(part, list):
        return [without_prose(each) for each in part]
    if not isinstance(part, dict):
        return part
    if names:
        return {key: without_prose(value) for key, value in part.items()}
    return {
        key: without_prose(value, names=key in ("properties", "schemas", "paths", "responses", "content", "headers"))
        for key, value in part.items()
        if not (key in EXAMPLES or (key in PROSE and isinstance(value, str)))
    }


def openapi() -> Document:
    """Paths, operations, parameters, schemas and status codes of a service with API keys."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder, "keys")
        keys.write_text(CliRunner().invoke(commands()["keys"], ["new", "ann"]).stdout)
        document: Document = without_prose(create_app(Settings(store=ZOO, keys_file=keys)).openapi())
    del document["info"]["version"]
    return document


def open_routes() -> Document:
    """What the document of a service without keys lacks."""
    document = create_app(Settings(store=ZOO)).openapi()
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    return {
        "paths": sorted(document["paths"]),
        "security": [operation["security"] for operation in operations if "security" in operation],
        "securitySchemes": document["components"].get("securitySchemes", {}),
    }


def metrics() -> Document:
    """Names, types and labels of every metric, and the series there are after a few requests."""
    families: list[Metric] = []
    collect = CollectorRegistry.collect

    def collected(registry: CollectorRegistry) -> Iterator[Metric]:
        for family in collect(registry):
            families.append(family)
            yield family

    with asked_service() as client, patch.object(CollectorRegistry, "collect", collected):
        text = client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    series = {sample.name: sorted(sample.labels) for sample in samples}
    return {
        "families": {
            # A gauge without labels has none of its own.
            family.name: {"type": family.type, "labels": list(getattr(family, "_labelnames", ()))}
            for family in sorted(families, key=lambda family: family.name)
        },
        "series": dict(sorted(series.items())),
        "values": {
            label: sorted({sample.labels[label] for sample in samples if label in sample.labels} - {POLLED})
            for label in VOCABULARIES
        },
    }


def logs() -> Document:
    """Fields of the line that a request leaves in the log."""
    lines: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record)

    logger, handler = logging.getLogger("slimbayes.requests"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with asked_service():
            pass
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    seen: dict[str, list[str]] = {}
    for line in lines:
        fields: Document = line.__dict__["fields"]
        if fields["route"] != POLLED:
            seen[f"{fields['route']} {fields['outcome']}"] = sorted(fields)
    return seen


def tensors() -> Document:
    """Inputs and outputs that the Open Inference Protocol offers, and the server's extensions."""
    with ready_service() as client:
        model, server = client.get(f"/v2/models/{MODEL}").json(), client.get("/v2").json()
    kept = {key: [(each["name"], each["datatype"]) for each in model[key]] for key in ("inputs", "outputs")}
    return {**kept, "keys": sorted(model), "server": {key: server[key] for key in ("name", "extensions")}}


@contextmanager
def ready_service() -> Iterator[TestClient]:
    """A service of the zoo in this process, once it can answer."""
    with TestClient(create_app(Settings(store=ZOO, max_wait_ms=60_000)), raise_server_exceptions=False) as client:
        while client.get(POLLED).status_code != 200:
            time.sleep(0.01)
        yield client


@contextmanager
def asked_service() -> Iterator[TestClient]:
    """The same after an answer, a refusal and a request of the Open Inference Protocol."""
    picture = _picture()
    tensor = {"name": "images", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": [0] * 3072}
    with ready_service() as client:
        for _ in range(2):
            assert client.post("/predict", content=picture, headers=PICTURE).status_code == 200
        assert client.post("/predict", content=b"none", headers=PICTURE).status_code == 415
        assert client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]}).status_code == 200
        assert client.get("/models/nothing").status_code == 404
        yield client


def _picture() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def kinds() -> Document:
    """Kinds of refused requests, which metrics and logs name, with their HTTP status."""
    found = list(_below(RequestError))
    named = {error.kind: error.status for error in found}
    assert len(named) == len(found), "two errors have one kind"
    return dict(sorted(named.items()))


def _below(error: type[RequestError]) -> Iterator[type[RequestError]]:
    yield error
    for one in error.__subclasses__():
        if one.__module__.partition(".")[0] == "service":
            yield from _below(one)


def commands() -> dict[str, typer.Typer]:
    """The commands of `slimbayes`, as pyproject.toml lists them."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["slimbayes.commands"]
    return {name: _load(target) for name, target in points.items()}


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def command_line() -> Document:
    """Arguments and options of every command and subcommand."""
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["slimbayes"]
    root: Any = typer.main.get_command(_load(script.partition(":")[0] + ":app"))
    return {
        "slimbayes": [_parameter(each) for each in root.params],
        **{name: _command(typer.main.get_command(app)) for name, app in sorted(commands().items())},
    }


def _command(command: Any) -> Document:
    described: Document = {"parameters": [_parameter(each) for each in command.params]}
    if below := getattr(command, "commands", {}):
        described["commands"] = {name: _command(each) for name, each in sorted(below.items())}
    return described


def _parameter(parameter: Any) -> Document:
    # Typer derives an option's name from its flag, but shows an argument by its name.
    is_option = parameter.param_type_name == "option"
    annotation = parameter.type_descriptor.annotation
    described = {
        "flags": [*parameter.opts, *parameter.secondary_opts] if is_option else None,
        "argument": None if is_option else parameter.metavar or parameter.name,
        "type": _type(annotation),
        "metavar": parameter.metavar,
        "default": _plain(parameter.default),
        "required": parameter.required,
        "environment": parameter.envvar,
        "repeated": parameter.multiple or parameter.nargs != 1,
        "flag": getattr(parameter, "is_flag", False),
        "least": parameter.min,
        "most": parameter.max,
        "hidden": parameter.hidden,
    }
    return {name: value for name, value in described.items() if value not in (None, False, [])}


def _type(annotation: Any) -> str:
    """A type or choices, without the modules that they are in."""
    parts = ", ".join(repr(each) if isinstance(each, str) else _type(each) for each in get_args(annotation))
    return f"{annotation.__name__}[{parts}]" if parts else str(annotation.__name__)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def settings() -> Document:
    """Environment variables of the service, with their JSON schema."""
    schema = without_prose(Settings.model_json_schema(mode="serialization"))
    return {f"SLIMBAYES_{name.upper()}": of for name, of in sorted(schema["properties"].items())}


def scores() -> Document:
    """Files, columns, types and metadata that `slimbayes score` writes."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        (source / "one.png").write_bytes(_picture())
        arguments = [str(source), str(output), "--store", str(ZOO), "--threads", "1"]
        result = CliRunner().invoke(commands()["score"], arguments)
        assert result.exit_code == 0, result.output
        part = parquet.read_schema(output / "part-00000.parquet")
        return {
            "files": sorted(path.name for path in output.iterdir()),
            "columns": [[field.name, str(field.type), "null" if field.nullable else "not null"] for field in part],
            "metadata": sorted(key.decode() for key in part.metadata),
            "_plan.json": sorted(json.loads((output / "_plan.json").read_bytes())),
        }


def exports() -> Document:
    """What each package exports; nothing where there is no such package yet."""
    return {name: _exports(name) for name in PACKAGES}


def _exports(package: str) -> list[str]:
    if importlib.util.find_spec(package) is None:
        return []
    return sorted(getattr(importlib.import_module(package), "__all__", []))


SURFACES: dict[str, Callable[[], Document]] = {
    "command-line": command_line,
    "exports": exports,
    "kinds": kinds,
    "logs": logs,
    "metrics": metrics,
    "open-routes": open_routes,
    "openapi": openapi,
    "scores": scores,
    "settings": settings,
    "tensors": tensors,
}
