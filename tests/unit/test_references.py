"""What code and documents refer to is in the repository, and says what it is referred to for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from web.handbook import anchor

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".py", ".toml", ".md", ".html", ".css", ".js", ".json", ".in", ".txt"}
NAMES = {"Makefile", "Procfile", "run", ".env.example"}
# Pages that were written beside the repository: their folder, their name, a section's number.
OUTSIDE = re.compile(r"\bcontracts/|\bdesign\.md|§")
# Sections of published standards are no such.
STANDARD = re.compile(r"(?:RFC \d+|ISO/IEC [\d-]+) §[\d.]+(?:, §[\d.]+)*")
# A file and a heading in it; a line may end in between.
REFERENCE = re.compile(r'(docs/[\w/-]+\.md),\s+(?:#\s+)?"([^"]+)"')
LINK = re.compile(r"\]\(([\w./-]*\.md)?(?:#([^)\s]+))?\)")
# A file of ours, named in the text of a page.
FILE = re.compile(r"`([a-z_]+/[\w./-]+\.(?:py|toml|md|txt))`")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def sources() -> Iterator[Path]:
    """Everything written here but this file, which names what it looks for."""
    for top in sorted(ROOT.iterdir()):
        if top.is_dir() and (top.name == ".ci" or not top.name.startswith(".")):
            files = [file for file in sorted(top.rglob("*")) if "__pycache__" not in file.parts]
        else:
            files = [top]
        for file in files:
            written = file.suffix in SUFFIXES or file.name in NAMES
            if written and file.is_file() and file != Path(__file__).resolve():
                yield file


SOURCES = list(sources())
PAGES = [file for file in SOURCES if file.suffix == ".md"]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def headings(page: Path) -> frozenset[str]:
    return frozenset(HEADING.findall(page.read_text(encoding="utf-8")))


def faults(text: str) -> list[str]:
    """References that lead to no page of ours, or to none of its headings."""
    outside = OUTSIDE.findall(STANDARD.sub("", text))
    found = []
    for page, wrapped in REFERENCE.findall(text):
        heading = re.sub(r"\s*\n\s*(?:#\s+)?", " ", wrapped)
        if not (ROOT / page).is_file() or heading not in headings(ROOT / page):
            found.append(f"{page}, {heading}")
    return outside + found


def test_every_kind_of_file_is_read() -> None:
    read = {name(file) for file in SOURCES}
    assert {"agentforce.py", "docs/providers/twilio.md", "pyproject.toml", "Makefile"} <= read


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_references_lead_somewhere(file: Path) -> None:
    assert not faults(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    broken = []
    for path, fragment in LINK.findall(file.read_text(encoding="utf-8")):
        page = (file.parent / path).resolve() if path else file
        if not page.is_file() or (fragment and fragment not in map(anchor, headings(page))):
            broken.append(f"{path}#{fragment}")
    assert not broken


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_files_that_a_page_names_exist(file: Path) -> None:
    named = FILE.findall(file.read_text(encoding="utf-8"))
    assert not [path for path in named if not (ROOT / path).is_file()]


@pytest.mark.parametrize(
    "text",
    [
        "see contracts/twilio.md",
        "the mark of design.md",
        "as said before (§3.4)",
        "RFC 7845 §3, and §6.3",
        'docs/providers/twilio.md, "No such heading"',
        '# docs/providers/twilio.md,\n    # "No such heading"',
        'docs/providers/nobody.md, "Signatures"',
    ],
)
def test_a_reference_to_nothing_is_found(text: str) -> None:
    assert len(faults(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        'docs/providers/twilio.md, "Signatures"',
        '# docs/providers/twilio.md, "Waiting and\n# retrying"',
        "RFC 7845 §5.1.1",
        "ISO/IEC 14496-3 §1.6.3.4, §4.5.1",
        "[[tool.importlinter.contracts]]",
    ],
)
def test_other_references_are_left_alone(text: str) -> None:
    assert not faults(text)
