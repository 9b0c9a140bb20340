"""What ``make check`` says of vulnerabilities and secrets."""

from __future__ import annotations

import json
import re
from subprocess import CompletedProcess

import pytest

from tests import audit

SAFE = {"name": "flask", "version": "3", "vulns": []}
SKIPPED = {"name": "twilio", "skip_reason": "not found"}
WEAK = {"name": "jwt", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2", "1.1"]}]}
HOPELESS = {"name": "httpx", "version": "1", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}


def answers(monkeypatch: pytest.MonkeyPatch, stdout: str) -> None:
    done = CompletedProcess([], 0, stdout=stdout, stderr="")
    monkeypatch.setattr(audit, "_run", lambda module, options: done)


@pytest.mark.parametrize(
    ("packages", "faults", "told"),
    [
        ([SAFE], [], ""),
        ([SAFE, SAFE], [], ""),
        ([SAFE, WEAK], ["jwt 1: PYSEC-1, fixed in 2, 1.1"], ""),
        ([HOPELESS, SKIPPED], ["httpx 1: PYSEC-2, fixed in no version yet"], "for 1 packages"),
        ([SKIPPED, SKIPPED], [], "for 2 packages"),
        (None, [], "for all packages"),
    ],
)
def test_what_is_known_fails_and_what_is_not_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    packages: list[object] | None,
    faults: list[str],
    told: str,
) -> None:
    answers(monkeypatch, "" if packages is None else json.dumps({"dependencies": packages}))
    assert audit.vulnerabilities() == faults
    printed = capsys.readouterr().out
    assert told in printed
    assert bool(printed) == bool(told)


def test_pins_with_hashes_are_asked_about_apart_from_those_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip-audit refuses them together; what it complains of is passed on."""
    asked: list[str] = []

    def refuse(module: str, options: list[str]) -> CompletedProcess[str]:
        asked.append(options[-1])
        assert options.count("--requirement") == 1
        error = "ERROR:pip_audit._cli:requirement x==1 does not contain a hash"
        return CompletedProcess([], 1, stdout="", stderr=f"{error}\n")

    monkeypatch.setattr(audit, "_run", refuse)
    assert audit.vulnerabilities() == []
    assert asked == [str(audit.ROOT / name) for name in audit.REQUIREMENTS]
    printed = capsys.readouterr().out
    assert "all packages of requirements.txt: requirement x==1 does not contain a hash." in printed


def test_what_runs_in_production_is_pinned_with_hashes() -> None:
    """So pip takes no other file under the same version; each package needs one then."""
    text = (audit.ROOT / "requirements.txt").read_text(encoding="utf-8")
    packages = [block.splitlines() for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE)]
    assert all(any("--hash=sha256:" in line for line in package) for package in packages if package)
    exact = re.compile(r"[\w.-]+==\S+ (; python_version >= \S+ )?\\$")
    assert all(exact.match(package[0]) for package in packages if package)
    assert "://" not in text


def test_no_package_is_pinned_to_two_versions() -> None:
    """Each file is installed over the one before it."""
    pins: dict[str, set[str]] = {}
    for name in audit.REQUIREMENTS:
        text = (audit.ROOT / name).read_text(encoding="utf-8")
        for package, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE):
            pins.setdefault(package, set()).add(version)
    assert pins
    assert not {package for package, versions in pins.items() if len(versions) > 1}


def test_a_secret_is_found_and_one_that_only_looks_so_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = json.loads((audit.ROOT / audit.BASELINE).read_text(encoding="utf-8"))["results"]
    moved = {name: [found | {"line_number": 1} for found in each] for name, each in known.items()}
    new = {"app.py": [{"hashed_secret": "0", "line_number": 7, "type": "AWS Access Key"}]}
    answers(monkeypatch, json.dumps({"results": moved | new}))
    assert audit.secrets() == ["app.py:7: AWS Access Key"]


def test_a_known_secret_may_stand_in_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that moves takes its made-up secrets along; what is new is a fault."""
    baseline = json.loads((audit.ROOT / audit.BASELINE).read_text(encoding="utf-8"))
    known = next(iter(baseline["results"].values()))[0]
    new = known | {"hashed_secret": "0" * 40, "line_number": 7, "type": "Secret Keyword"}
    answers(monkeypatch, json.dumps({"results": {"moved.py": [known, new]}}))
    assert audit.secrets() == ["moved.py:7: Secret Keyword"]
