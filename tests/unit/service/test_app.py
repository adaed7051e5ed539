"""The application: its documentation loads nothing from elsewhere."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from service.app import DOCS
from tests.support.http import refusal


def test_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    """Every address in the page is one of this service's, and none of its scripts or styles is in the page itself."""
    page = client.get("/docs")
    assert page.status_code == 200
    loaded = [address for address in re.findall(r'(?:src|href)="([^"]+)"', page.text) if address != "data:,"]
    assert set(loaded) == {"swagger-ui.css", "swagger-ui-bundle.js", "start.js"}
    for address in loaded:
        assert client.get(f"/docs/{address}").status_code == 200
    assert re.search(r"<script>|<style|style=|onload=", page.text) is None
    assert "openapi.json" in client.get("/docs/start.js").text
    assert "http" not in re.sub(r"http://www\.w3\.org/\d+/\w+", "", (DOCS / "swagger-ui.css").read_text())
    assert refusal(client.get("/docs/none.js"), 404)
