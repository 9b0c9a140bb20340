"""What ``make check`` says of vulnerabilities and secrets."""

from __future__ import annotations

import json
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


def test_a_secret_is_found_and_one_that_only_looks_so_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = json.loads((audit.ROOT / audit.BASELINE).read_text(encoding="utf-8"))["results"]
    moved = {name: [found | {"line_number": 1} for found in each] for name, each in known.items()}
    new = {"app.py": [{"hashed_secret": "0", "line_number": 7, "type": "AWS Access Key"}]}
    answers(monkeypatch, json.dumps({"results": moved | new}))
    assert audit.secrets() == ["app.py:7: AWS Access Key"]
