"""What others start the service with: Heroku, Docker, systemd."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
APP: dict[str, Any] = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
# The keys that Heroku knows.
APP_KEYS = {
    *("name", "description", "keywords", "website", "repository", "logo", "success_url"),
    *("scripts", "env", "formation", "addons", "buildpacks", "environments", "stack", "image"),
}
# Beside the service these are in the folder, too.
NOT_THE_SERVICE = {"bench", "sandbox", "tests"}


def read(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def procfile() -> dict[str, list[str]]:
    """The command of each kind of process."""
    lines = (line.partition(":") for line in read("Procfile").splitlines())
    return {kind: shlex.split(command) for kind, _, command in lines}


def dockerfile(instruction: str) -> str:
    (found,) = re.findall(rf"^{instruction} (.+)$", read("Dockerfile"), re.MULTILINE)
    return str(found)


def test_heroku_accepts_the_app() -> None:
    """https://devcenter.heroku.com/articles/app-json-schema"""
    assert APP.keys() <= APP_KEYS
    assert 3 <= len(APP["name"]) <= 30
    assert len(APP["description"]) <= 140


def test_a_button_asks_for_each_required_setting_and_knows_no_other() -> None:
    fields = Settings.model_fields
    required = {name for name, field in fields.items() if field.is_required()}
    asked = {
        name
        for name, entry in APP["env"].items()
        if entry.get("required", True) and "generator" not in entry
    }
    assert asked == required
    assert APP["env"].keys() <= fields.keys()


@pytest.mark.parametrize("name", APP["env"])
def test_a_button_says_where_each_value_is_found(name: str) -> None:
    assert len(APP["env"][name]["description"].split()) >= 6


def test_a_button_makes_the_password_of_the_dashboard() -> None:
    assert APP["env"]["METRICS_TOKEN"]["generator"] == "secret"
    # Heroku does not tell a new app its address, so the service has to start without it.
    assert APP["env"]["PUBLIC_URL"]["required"] is False


@pytest.mark.parametrize("page", ["README.md", "docs/going-live.md"])
def test_the_command_to_copy_sets_each_required_setting(page: str) -> None:
    (command,) = re.findall(r"heroku config:set TWILIO.+?\n(?= *git)", read(page), re.DOTALL)
    fields = Settings.model_fields
    required = {name for name, field in fields.items() if field.is_required()}
    assert set(re.findall(r"\b([A-Z_]+)=", command)) == required | {"METRICS_TOKEN"}


def test_the_dockerfile_has_no_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "Dockerfile"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_the_image_has_the_service_and_nothing_else() -> None:
    ignored = read(".dockerignore").splitlines()
    assert ignored[1] == "*"
    taken = {line[1:] for line in ignored if line.startswith("!")}
    modules = {file.name for file in ROOT.glob("*.py")}
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - NOT_THE_SERVICE
    # The dashboard shows the documents for operators.
    assert taken == {*modules, *packages, "docs/*.md", "requirements.txt"}


def test_each_way_starts_the_commands_of_the_procfile() -> None:
    commands = procfile()
    services = yaml.safe_load(read("compose.yaml"))["services"]
    assert json.loads(dockerfile("CMD")) == commands["web"]
    assert "command" not in services["web"]
    assert services["worker"]["command"] == commands["worker"]
    for kind, unit in (("web", "whatsapp-bridge"), ("worker", "whatsapp-bridge-worker")):
        (line,) = re.findall(r"^ExecStart=(.+)$", read(f"deploy/{unit}.service"), re.MULTILINE)
        program, *arguments = shlex.split(line)
        assert [Path(program).name, *arguments] == commands[kind]


def test_each_way_waits_for_running_turns_at_a_stop() -> None:
    """gunicorn.conf.py takes 29 s at most."""
    services = yaml.safe_load(read("compose.yaml"))["services"]
    assert services["web"]["stop_grace_period"] == services["worker"]["stop_grace_period"] == "35s"
    for unit in ("whatsapp-bridge", "whatsapp-bridge-worker"):
        assert "\nTimeoutStopSec=35\n" in read(f"deploy/{unit}.service")


def test_both_units_have_the_same_limits() -> None:
    web, worker = (
        read(f"deploy/{unit}.service").partition("# Resources")[2]
        for unit in ("whatsapp-bridge", "whatsapp-bridge-worker")
    )
    assert "NoNewPrivileges=yes" in web
    assert web == worker
