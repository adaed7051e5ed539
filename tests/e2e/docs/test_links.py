"""Check that every relative link in the Markdown documents leads to a file and, where named, a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.project import PROJECT

FOLDERS = ("docs", "docker", "model_store", "tools")
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(path for each in FOLDERS for path in (PROJECT / each).rglob("*.md"))])
LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc=\"([^\"]+)\"")


def without_code(text: str) -> str:
    """Drop fenced code, and blank inline code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "code", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    names = []
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        count = found[anchor] = found.get(anchor, -1) + 1
        names.append(f"{anchor}-{count}" if count else anchor)
    return frozenset(names)


def broken(document: Path) -> Iterator[str]:
    """List relative links without a target."""
    for found in LINK.finditer(without_code(document.read_text())):
        link = found[1] or found[2]
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = document.parent / file if file else document
        if not target.exists() or (heading and heading not in anchors(target.resolve())):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_resolve(document: Path) -> None:
    assert list(broken(document)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# One\n\n[a](#one) [b](#two) [c](none.md) [d](page.md#one) [`e`](page.md#no) `[f](g.md)` <img src="h.png">\n'
    )
    assert list(broken(page)) == ["#two", "none.md", "page.md#no", "h.png"]
