"""The house of docs/architecture.md, as far as import-linter cannot see it.

``pyproject.toml`` has the order of the packages; the modules at the top are none.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = {file.stem for file in ROOT.glob("*.py")} - {"gunicorn.conf"}
PACKAGES = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"bench", "sandbox"}
# What each module at the top may not import. The entry points and services may import everything.
ABOVE = {"services", "web", "checks", "turns", "cli", "app", "worker"}
FORBIDDEN = {
    "metrics": (TOP | PACKAGES) - {"core"},
    "agentforce": ABOVE | {"media"},
    "media": ABOVE | {"agentforce"},
}
SOURCES = [
    file
    for folder in (ROOT, *(ROOT / package for package in sorted(PACKAGES)))
    for file in (folder.rglob("*.py") if folder != ROOT else folder.glob("*.py"))
    if file not in (ROOT / "gunicorn.conf.py", ROOT / "core" / "settings.py")
]


def imports(file: Path) -> set[str]:
    """The names of the packages and modules at the top that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_modules_at_the_top_are_those_of_the_design() -> None:
    assert {"app", "worker", "services", "agentforce", "media", "metrics"} == TOP


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_a_module_at_the_top_knows_nothing_above_it(name: str) -> None:
    assert not imports(ROOT / f"{name}.py") & (FORBIDDEN[name] | {"sandbox"})


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_settings_reads_the_environment(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    assert not re.search(r"os\.environ|getenv|from os import", source)
