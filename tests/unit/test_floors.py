"""The code is built as docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \| (.+?) \|", re.MULTILINE)
# On every floor, below the lowest, or run by gunicorn rather than imported.
EXEMPT = {"errors", "setting_values", "gunicorn.conf"}


def floors() -> dict[str, int]:
    """File names (without ``.py``) and their floors, from the table."""
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return {
        name: int(floor)
        for floor, files in ROW.findall(table)
        for name in re.findall(r"`(\w+)\.py`", files)
    }


def imports(file: Path) -> set[str]:
    """The top-level modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_file_has_a_floor() -> None:
    files = {file.stem for file in ROOT.glob("*.py")} - EXEMPT
    assert files == set(floors())


@pytest.mark.parametrize("name", sorted(floors()))
def test_a_file_imports_lower_floors_only(name: str) -> None:
    levels = floors()
    imported = imports(ROOT / f"{name}.py")
    assert not {other for other in imported if levels.get(other, -1) >= levels[name]}
    assert "sandbox" not in imported


@pytest.mark.parametrize("name", sorted(set(floors()) - {"settings"}))
def test_only_settings_reads_the_environment(name: str) -> None:
    source = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    assert not re.search(r"os\.environ|getenv|from os import", source)
