"""`GET /` and the files of the page."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from service.api.routes.ui import ROOT, assets
from tests.support.http import refusal


def test_the_page_is_html_that_may_run_only_its_own_scripts(client: TestClient) -> None:
    """Nothing inline, nothing from elsewhere."""
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=|https?://", response.text)


def test_every_file_that_the_page_names_is_there(client: TestClient) -> None:
    """In HTML, style sheets and scripts, with the right media type."""
    named = set(re.findall(r'(?:href|src)="(page/[^"]+)"', client.get("/").text))
    for path in ROOT.glob("*.js"):
        named |= {f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', path.read_text())}
    named |= {f"page/{name}" for name in re.findall(r'url\("([^"]+)"\)', (ROOT / "page.css").read_text())}
    named |= {f"page/examples/{example['file']}" for example in client.get("/page/examples/examples.json").json()}
    assert len(named) > 25
    kinds = {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "jpg": "image/jpeg",
        "png": "image/png",
        "svg": "image/svg+xml",
        "woff2": "font/woff2",
    }
    for name in named:
        response = client.get(f"/{name}")
        assert response.status_code == 200, name
        assert response.headers["content-type"] == kinds[name.rpartition(".")[2]]
        assert response.headers["x-content-type-options"] == "nosniff"
    assert {name.removeprefix("page/") for name in named} >= assets().keys() - {"index.html", "examples/examples.json"}


def test_a_browser_is_told_at_once_of_every_script(client: TestClient) -> None:
    """It would ask for each only once it had read another that names it."""
    told = re.findall(r'<link rel="modulepreload" href="page/([^"]+)">', client.get("/").text)
    assert sorted([*told, "app.js"]) == sorted(path.name for path in ROOT.glob("*.js"))


def test_a_browser_that_has_a_file_is_told_so(client: TestClient) -> None:
    """It asks each time, and gets the file again only where that has changed."""
    first = client.get("/page/app.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/page/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert client.get("/page/app.js", headers={"if-none-match": '"another"'}).content == first.content
    assert client.head("/").headers["content-length"] == str(len(assets()["index.html"].data))


@pytest.mark.parametrize(
    "path",
    [
        "/page/nothing.js",
        "/page/",
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/inter.LICENSE",
        "/page//etc/passwd",
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert refusal(client.get(path), 404)
