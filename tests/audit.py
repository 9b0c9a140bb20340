"""Known vulnerabilities of requirements, and secrets in files: ``python -m tests.audit``.

pip-audit reads PyPI's advisories; if it cannot reach them, one line says so and nothing fails.
detect-secrets ignores what ``.secrets.baseline`` lists as no secret;
``detect-secrets scan --no-verify --baseline .secrets.baseline`` renews it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ("requirements.txt", "requirements-sandbox.txt", "requirements-dev.txt")
BASELINE = ".secrets.baseline"
TIMEOUT = 10


def main() -> None:
    faults = [*vulnerabilities(), *secrets()]
    if faults:
        sys.exit("\n".join(faults))


def vulnerabilities() -> list[str]:
    """A line for each known vulnerability; prints which packages could not be looked up."""
    # One file at a time, because pip-audit does not mix files with and without hashes.
    return list(dict.fromkeys(line for name in REQUIREMENTS for line in _vulnerable(name)))


def _vulnerable(name: str) -> list[str]:
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    asked = _run(
        "pip_audit", [*options, "--timeout", str(TIMEOUT), "--requirement", str(ROOT / name)]
    )
    try:
        packages = json.loads(asked.stdout)["dependencies"]
    except ValueError:
        packages = []
    audited = [package for package in packages if "vulns" in package]
    if len(audited) < len(packages) or not audited:
        missing = len(packages) - len(audited) or "all"
        print(f"Vulnerabilities not looked up for {missing} packages of {name}: {_reason(asked)}.")
    return [line for package in audited for line in _told(package)]


def _reason(asked: subprocess.CompletedProcess[str]) -> str:
    """Why pip-audit found nothing: its last error, if it printed one."""
    errors = re.findall(r"^ERROR:pip_audit\S*:(.*)$", asked.stderr, re.MULTILINE)
    return errors[-1] if errors else "no advisories to be had"


def _told(package: dict[str, Any]) -> list[str]:
    what = f"{package['name']} {package['version']}"
    return [
        f"{what}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for fault in package["vulns"]
    ]


def secrets() -> list[str]:
    """A line for each secret that the baseline does not list, in any file."""
    known = {secret for _, secret in _found(json.loads((ROOT / BASELINE).read_text("utf-8")))}
    scan = _run("detect_secrets", ["scan", "--all-files", "--no-verify", *_files()])
    if scan.returncode:
        return [scan.stderr]
    found = _found(json.loads(scan.stdout))
    return [line for (_, secret), line in found.items() if secret not in known]


def _found(scan: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Place and type of each secret, by file and hash."""
    return {
        (name, secret["hashed_secret"]): f"{name}:{secret['line_number']}: {secret['type']}"
        for name, found in scan["results"].items()
        for secret in found
    }


def _files() -> list[str]:
    """The files that git tracks or would add; outside a repository, all files."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\0")
    return [name for name in listed if name and name != BASELINE] or _own_files()


def _own_files() -> list[str]:
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [str(path) for path in paths if not path.parts[0].startswith(".")]


def _run(module: str, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
