"""Holds manifests from standard input against a generated client's models, and prints what these do not know.

`python openapi_models.py kserve.models V1beta1InferenceService`, in an environment that has the client.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from types import ModuleType
from typing import Any

from kubernetes import client as kubernetes

PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "datetime": str}
# Generated clients say it in words of their own.
QUANTITIES = {"ResourceQuantity", "IntOrString", "K8sIoApimachineryPkgUtilIntstrIntOrString"}


def faults(value: Any, kind: str, models: ModuleType, at: str = "") -> list[str]:
    """What is not of its kind, by its path."""
    if match := re.fullmatch(r"[lL]ist\[(.*)\]", kind):
        return [fault for n, each in enumerate(value) for fault in faults(each, match[1], models, f"{at}[{n}]")]
    if match := re.fullmatch(r"[dD]ict[\[(]str, (.*)[\])]", kind):
        return [fault for key, each in value.items() for fault in faults(each, match[1], models, f"{at}.{key}")]
    if kind in PLAIN:
        return [] if isinstance(value, PLAIN[kind]) else [f"{at}: {value!r} is no {kind}"]
    if kind in QUANTITIES:
        return [] if isinstance(value, (str, int)) else [f"{at}: {value!r} is no {kind}"]
    model = getattr(models, kind, None) or getattr(kubernetes, kind, None)
    if model is None:
        model = getattr(kubernetes, f"V1{kind.removeprefix('K8sIoApiAppsV1')}")
    fields = {name: model.openapi_types[own] for own, name in model.attribute_map.items()}
    found = [f"{at}.{name}: no such field" for name in value.keys() - fields.keys()]
    for name in value.keys() & fields.keys():
        found += faults(value[name], fields[name], models, f"{at}.{name}")
    return found


if __name__ == "__main__":
    models = importlib.import_module(sys.argv[1])
    print(json.dumps([faults(manifest, sys.argv[2], models) for manifest in json.load(sys.stdin)]))
