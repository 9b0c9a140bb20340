"""Which Python ``make`` takes; interpreters of other versions are stood in for by scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("cp", "date", "head", "mkdir", "rm", "sed", "sh", "sort", "tail", "touch", "tr")
NEEDED = "Python 3.11, 3.12, 3.13 or 3.14 with venv is needed"

RUNS = """#!/bin/sh
case "$*" in
    "-m venv "*) mkdir "$3/bin" && cp "$0" "$3/bin/python" && echo "$0" >"$3/made by" ;;
    *) echo {version} ;;
esac
"""
HAS_NO_VENV = """#!/bin/sh
case "$*" in
    *ensurepip*) exit 1 ;;
    *) echo {version} ;;
esac
"""
REFUSES = """#!/bin/sh
echo "pyenv: python{version}: command not found" >&2
exit 127
"""


class Machine:
    """A folder with ``make``'s tools and Pythons, and nothing else on its PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = [folder / "bin"]
        (folder / "tools").mkdir()
        for tool in TOOLS:
            (folder / "tools" / tool).symlink_to(shutil.which(tool) or tool)
        self.venv = folder / "venv"

    def python(self, version: str, script: str = RUNS, *, below: str = "bin") -> Path:
        python = self._folder / below / f"python{version}"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(script.format(version=version))
        python.chmod(0o755)
        if python.parent not in self._path and "versions" not in below:
            self._path.append(python.parent)
        return python

    def make(self, python: Path | str = "") -> subprocess.CompletedProcess[str]:
        path = ":".join(map(str, [*self._path, self._folder / "tools"]))
        return subprocess.run(
            [shutil.which("make") or "make", f"VENV={self.venv}", f"{self.venv}/.made"]
            + [f"PYTHON={python}"] * bool(python),
            cwd=ROOT,
            env={"PATH": path, "HOME": str(self._folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    def chosen(self, python: Path | str = "") -> Path:
        made = self.make(python)
        assert made.returncode == 0, made.stderr
        return Path((self.venv / "made by").read_text().strip())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_newest_is_taken(machine: Machine) -> None:
    machine.python("3.11")
    newest = machine.python("3.13")
    machine.python("3.12")
    machine.python("3.10")
    machine.python("3.15")
    assert machine.chosen() == newest


@pytest.mark.parametrize("useless", [REFUSES, HAS_NO_VENV], ids=["refuses", "has no venv"])
def test_one_that_cannot_run_the_bridge_is_passed_over(machine: Machine, useless: str) -> None:
    machine.python("3.14", useless)
    machine.python("3.12", useless)
    later = machine.python("3.12", below="usr")
    assert machine.chosen() == later


def test_one_that_is_another_than_its_name_says_is_passed_over(machine: Machine) -> None:
    machine.python("3.14", RUNS.replace("{version}", "3.15"))
    real = machine.python("3.11")
    assert machine.chosen() == real


def test_pyenv_need_not_have_chosen_it(machine: Machine) -> None:
    machine.python("3.13", REFUSES)
    machine.python("3.13", below=".pyenv/versions/3.13.9/bin")
    newest = machine.python("3.13", below=".pyenv/versions/3.13.10/bin")
    machine.python("3.14", below=".pyenv/versions/3.14.0t/bin")
    assert machine.chosen() == newest


def test_the_one_that_is_named_is_taken(machine: Machine) -> None:
    machine.python("3.13")
    named = machine.python("3.12")
    assert machine.chosen(named) == named


def test_what_was_made_stays_until_another_version_is_named(machine: Machine) -> None:
    older = machine.python("3.12")
    assert machine.chosen() == older
    newer = machine.python("3.13")
    assert machine.chosen() == older
    assert machine.chosen(newer) == newer
    (machine.venv / "made by").write_text("kept")
    assert machine.chosen(newer) == Path("kept")


def test_none_is_told_in_a_sentence(machine: Machine) -> None:
    machine.python("3.10")
    machine.python("3.13", HAS_NO_VENV)
    made = machine.make()
    assert made.returncode
    assert made.stderr.startswith(f"{NEEDED}, and what is on the PATH is not one; install it with")
    assert not machine.venv.exists()


@pytest.mark.parametrize("script", [RUNS, REFUSES], ids=["runs", "refuses"])
def test_an_unsupported_one_is_refused_and_nothing_removed(machine: Machine, script: str) -> None:
    machine.chosen(machine.python("3.12"))
    unsupported = machine.python("3.10", script)
    made = machine.make(unsupported)
    assert made.returncode
    assert made.stderr.startswith(f"{NEEDED}, and {unsupported} is not one; install it with")
    assert (machine.venv / "bin" / "python").exists()


def test_ci_sets_up_each_that_can_be_taken() -> None:
    taken = re.search(r"for supported in (.*);", (ROOT / "pythons.sh").read_text())
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +(3\.\d+)$", workflow, re.MULTILINE)
    assert taken
    assert sorted(listed) == sorted(taken[1].split())


def test_this_python_is_one() -> None:
    found = subprocess.run(
        ["sh", "pythons.sh", sys.executable], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == sys.executable
