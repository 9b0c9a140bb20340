"""The pins, compiled on one Python, are those of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("requirements", "requirements-sandbox", "requirements-dev")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Every venv has them, so that pip-tools pins neither.
UNPINNED = {"pip", "setuptools"}


def read(suffix: str, names: Sequence[str] = NAMES) -> Iterator[Requirement]:
    for name in names:
        lines = (ROOT / (name + suffix)).read_text(encoding="utf-8").splitlines()
        for line in lines:
            if re.match(r"\w", line):
                yield Requirement(line.split("#")[0].rstrip(" \\"))


def applies(requirement: Requirement, python: str, extra: str = "") -> bool:
    at = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
    return requirement.marker is None or requirement.marker.evaluate(at)


def needed(python: str, names: Sequence[str] = NAMES) -> dict[NormalizedName, Distribution | None]:
    """All that these files lead to on ``python``; ``None`` for what this Python has not installed.

    What that needs in turn is not known.
    """
    found: dict[NormalizedName, Distribution | None] = {}
    seen: set[tuple[str, str]] = set()
    left = [each for each in read(".in", names) if applies(each, python)]
    while left:
        one = left.pop()
        name = canonicalize_name(one.name)
        if name in UNPINNED:
            continue
        package = found[name] = next(iter(distributions(name=name)), None)
        for extra in ("", *one.extras):
            if package and (name, extra) not in seen:
                seen.add((name, extra))
                requirements = map(Requirement, package.requires or [])
                left += [each for each in requirements if applies(each, python, extra)]
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_is_needed_is_pinned(python: str) -> None:
    pinned = {canonicalize_name(each.name) for each in read(".txt") if applies(each, python)}
    assert needed(python).keys() <= pinned


def test_a_deployment_lacks_nothing() -> None:
    """It installs requirements.txt alone."""
    alone = NAMES[:1]
    pinned = {canonicalize_name(each.name) for each in read(".txt", alone)}
    assert {"gunicorn", "packaging"} <= needed("3.13", alone).keys() <= pinned


@pytest.mark.parametrize("python", PYTHONS)
def test_what_is_pinned_runs_there(python: str) -> None:
    wanted = {
        name: package.metadata["Requires-Python"]
        for name, package in needed(python).items()
        if package and "Requires-Python" in package.metadata
    }
    versions = {name: SpecifierSet(each) for name, each in wanted.items()}
    assert not [name for name, each in versions.items() if not each.contains(f"{python}.0")]


def test_only_what_newer_pythons_miss_is_theirs() -> None:
    marked = {each.name: str(each.marker) for each in read(".txt") if each.marker}
    assert marked == {"audioop-lts": 'python_version >= "3.13"'}
