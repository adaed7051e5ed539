"""Refuse riddles and private vocabulary in docstrings, comments, messages and documentation.

    python -m tools.check_prose [PATH …]

Docstrings begin with an imperative verb; the field's words replace the project's own (CONTRIBUTING.md, Prose). Without
paths, everything in CHECKED is read. Findings are printed as `file:line: message`; with any, the exit status is 1.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
# Packages and documents that are read; tests and the changelog are not.
CHECKED = (
    *("service", "model_store", "pruning", "training", "slimbayes", "benchmarks", "tools"),
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs"),
)
# Figures and reports that benchmarks wrote; their README is prose.
GENERATED = PROJECT / "docs" / "results"

FIRST_WORDS = {
    *("what", "who", "whom", "whose", "whoever", "whatever", "whether", "which", "how", "that", "those"),
    *("where", "wherever", "when", "why", "of", "as"),
}
# Pattern, and what to write instead. Patterns match whole words in any case.
BANNED = {
    r"errands?": "name the work",
    r"be (?:it|they)": "whether",
    r"(?:has|have|had) got": "has",
    r"told": "given, reported or logged",
    r"strangers?": "OOD images, or clients",
    r"(?:is|are|was|were|be|been|store) away": "unreachable",
    r"le(?:t|ts|tting) go of": "release",
    r"(?:alias|aliases|production) (?:means?|meant)": "points to",
    r"means? an? version": "points to a version",
    r"(?:is|are) meant to reach": "can reach",
    r"complaints?": "warnings",
    r"wish(?:es|ed)?": "constraint",
    r"nobody (?:foresaw|foresees)": "unexpected",
    r"honest": "state what is exact about it",
    r"who(?:ever)? (?:comes|waits|asks|serves|publishes|removes)": "name the client, operator or thread",
}
PATTERNS = {re.compile(rf"\b{pattern}\b", re.IGNORECASE): advice for pattern, advice in BANNED.items()}
FENCE = re.compile(r"^\s*(?:```|~~~)")
# Comments that tools read.
DIRECTIVE = re.compile(r"^#!|^#\s*(?:type:|noqa|ruff:|pragma:|fmt:)")


class Finding(NamedTuple):
    """A place in a file and what is wrong there."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def check(paths: list[Path]) -> Iterator[Finding]:
    """Check files and folders, in order of names."""
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for each in files:
            if each.suffix == ".py":
                yield from check_python(each)
            elif each.suffix == ".md" and (GENERATED not in each.parents or each == GENERATED / "README.md"):
                yield from check_markdown(each)


def check_python(path: Path) -> Iterator[Finding]:
    """Check a module's docstrings, comments and texts, f-strings included."""
    source = path.read_text()
    tree = ast.parse(source, path)
    docstrings: set[ast.expr] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring is not None:
                docstrings.add(node.body[0].value)  # type: ignore[attr-defined]
                yield from _first_word(path, node.body[0].lineno, docstring)
    for node in ast.walk(tree):
        # A text without spaces is a name, a key or a pattern rather than prose.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            kind = "docstring" if node in docstrings else "text"
            yield from _banned(path, node.lineno, node.value, kind)
    if "#" in source:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string):
                yield from _banned(path, token.start[0], token.string, "comment")


def check_markdown(path: Path) -> Iterator[Finding]:
    """Check a document's prose; code, fenced or inline, is left out."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield from _banned(path, number, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line), "text")


def _first_word(path: Path, line: int, docstring: str) -> Iterator[Finding]:
    word = re.match(r"\w+", docstring.strip())
    if word and word.group().lower() in FIRST_WORDS:
        yield Finding(path, line, f"docstring begins with {word.group()!r}: begin with an imperative verb")


def _banned(path: Path, line: int, text: str, kind: str) -> Iterator[Finding]:
    """Report banned words; a text of several lines is searched line by line, so that findings have their own line."""
    for offset, each in enumerate(text.splitlines()):
        for pattern, advice in PATTERNS.items():
            for match in pattern.finditer(each):
                yield Finding(path, line + offset, f"{kind} has {match.group()!r}: {advice}")


def main(arguments: list[str]) -> int:
    """Print all findings; return 1 if there are any."""
    paths = [Path(each).resolve() for each in arguments] or [PROJECT / each for each in CHECKED]
    count = 0
    for finding in check(paths):
        count += 1
        path = finding.path.relative_to(PROJECT) if finding.path.is_relative_to(PROJECT) else finding.path
        print(finding._replace(path=path))
    if count:
        print(f"{count} findings; CONTRIBUTING.md says how to write instead", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
