"""Helm with our chart, for all tests of the deployment."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from kubernetes_validate import utils

from tests.support.deploy.helm import Helm, missing_requirement, open_helm
from tests.support.requirements import require


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    require(missing_requirement())
    with open_helm() as helm:
        yield helm


@pytest.fixture(scope="package", autouse=True)
def schemas_once() -> Iterator[None]:
    """Kubernetes' schemas are read once: their definitions are megabytes, and each manifest would read them again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield
