"""Phrases to avoid in code, docs, rules and dashboards, with what to write instead.

Single words are in .codespell-dictionary.txt; codespell cannot check phrases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
CHECKED: Final = (
    "*.md",
    ".ci/*",
    "Dockerfile",
    "Makefile",
    "deploy/**/*",
    "exporter/**/*",
    "grafana/**/*",
    "pyproject.toml",
    "tests/**/*",
)
SKIPPED: Final = ("__pycache__", "fixtures", "node_modules")
SUFFIXES: Final = ("", ".cjs", ".default", ".html", ".json", ".md", ".py", ".service", ".sh", ".toml", ".yml")

PHRASES: Final = {
    "as above": "repeat the fact",
    "at once": "immediately, or concurrently",
    "give back": "release",
    "given back": "released",
    "gives back": "releases",
    "had better": "should",
    "in vain": "without success",
    "may not": "must not, or cannot",
    "nothing to worry about": "no problems found",
    "the other side": "the peer",
    "so many": "at most N, or the number",
    "who asks": "the client, or the scraper",
}


def checked_files() -> Iterator[Path]:
    for pattern in CHECKED:
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix in SUFFIXES and not set(SKIPPED) & set(path.parts):
                yield path


def occurrences(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, phrase). A phrase may span two lines of a comment or of Markdown."""
    for phrase in PHRASES:
        spaced = r"(?:\s|\"?\n\s*[#\"*>/-]*\s*)+".join(map(re.escape, phrase.split()))
        for match in re.finditer(rf"\b{spaced}\b", text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, phrase


@pytest.mark.parametrize(
    "text", ["All at once.", "# all at\n    # once", 'f"all at "\n    "once"', "so\nmany"]
)
def test_phrases_are_found_across_line_breaks(text: str) -> None:
    assert len(list(occurrences(text))) == 1


def test_no_file_contains_a_phrase_to_avoid() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase!r}, better: {PHRASES[phrase]}"
        for path in checked_files()
        if path != Path(__file__)
        for line, phrase in occurrences(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)
