"""The environment, the limits and the signals that a platform gives to a process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sandbox.bridge import ROOT, Bridge, BridgeDied, procfile_command
from storage.engine import FILE_NAME
from tests.e2e.conftest import PATIENT, StartDeployment
from tests.e2e.deployment import Deployment
from tests.e2e.dyno import BUILDPACK
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

# Heroku kills 30 s after its SIGTERM.
STOP_SECONDS = 29.0
# Sent to both processes of gunicorn, as Heroku does.
SIGTERM_DURING_START = """
import os, signal
from core import startup

def prepare_and_end(settings, prepare=startup.prepare_process):
    prepare(settings)
    for pid in (os.getppid(), os.getpid()):
        os.kill(pid, signal.SIGTERM)

startup.prepare_process = prepare_and_end
"""


def turns(deployment: Deployment) -> list[tuple[str, int]]:
    """State and attempts of each turn."""
    with sqlite3.connect(deployment.bridge.state_dir / FILE_NAME) as connection:
        return connection.execute("SELECT state, attempts FROM turns").fetchall()


def test_one_process_serves_despite_web_concurrency_of_the_buildpack(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(**BUILDPACK) as deployment:
        assert len(psutil.Process(deployment.bridge.pid).children()) == 1
        assert deployment.log().count("WEB_CONCURRENCY is ignored") == 1
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("Thanks"))
        deployment.twilio.wait_for_voice(user)
        assert "/media/" not in deployment.log()


def test_idle_connections_are_kept_longer_than_by_herokus_router(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Heroku's router closes idle connections after 90 s."""
    settings = {**deployment.bridge.settings, "STATE_DIR": str(tmp_path), "PORT": "8000"}
    shown = subprocess.run(
        [*procfile_command("web"), "--print-config"],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    pairs = (line.partition("=") for line in shown.splitlines())
    config = {name.strip(): value.strip() for name, _, value in pairs}
    assert int(config["keepalive"]) > 90
    assert config["bind"] in ("['[::]:8000']", "['0.0.0.0:8000']")


def test_a_second_sigterm_to_everybody_changes_nothing(start_deployment: StartDeployment) -> None:
    """The running turn is finished, and its sender answered."""
    with start_deployment(**PATIENT) as deployment:
        deployment.add_fault("agentforce", "ask", "hang", seconds=3.0)
        user = deployment.user()
        deployment.twilio.say(user, "Thanks")
        deployment.wait_for_call("agentforce", "ask")
        group = os.getpgid(deployment.bridge.pid)
        os.killpg(group, signal.SIGTERM)
        os.killpg(group, signal.SIGTERM)
        wait_until(deployment.bridge.has_ended, "the end", timeout=STOP_SECONDS)
        assert deployment.answers(user, 1)[0].body.startswith("You're welcome")
        assert turns(deployment) == [("done", 1)]


def test_a_sigterm_directly_after_the_fork_is_not_lost(
    deployment: Deployment, tmp_path: Path
) -> None:
    """If it were, the end would come after gunicorn's ``graceful_timeout``."""
    with starting(deployment, tmp_path) as process:
        log = tmp_path / "log"
        wait_until(lambda: "Booting worker" in log.read_text("utf-8"), "the fork")
        began = time.monotonic()
        process.terminate()
        assert process.wait(60) == 0
        assert time.monotonic() - began < 25


def test_after_a_sigterm_during_the_start_no_turn_is_begun(
    deployment: Deployment, tmp_path: Path
) -> None:
    with starting(deployment, tmp_path, planted(SIGTERM_DURING_START)) as process:
        assert process.wait(60) == 0
    log = (tmp_path / "log").read_text("utf-8")
    assert "Handling signal: term" in log
    assert "Ready: " not in log


@contextmanager
def starting(
    deployment: Deployment, folder: Path, command: Sequence[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A web process that may not be ready yet; ``log`` in the folder is its log."""
    settings = deployment.bridge.settings | {"STATE_DIR": str(folder / "state")}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command or procfile_command("web"),
            cwd=ROOT,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        yield process


@pytest.mark.slow
def test_a_turn_that_a_stop_cuts_off_is_logged_and_begun_anew(
    start_deployment: StartDeployment,
) -> None:
    """The process ends within the time that a platform allows, however often it gets SIGTERM."""
    with start_deployment(**PATIENT) as deployment:
        deployment.add_fault("agentforce", "ask", "hang", seconds=40.0)
        user = deployment.user()
        deployment.twilio.say(user, "Thanks")
        deployment.wait_for_call("agentforce", "ask")
        began = time.monotonic()
        group = os.getpgid(deployment.bridge.pid)
        for _ in range(3):
            os.killpg(group, signal.SIGTERM)
            time.sleep(0.1)
        wait_until(deployment.bridge.has_ended, "the end", timeout=STOP_SECONDS)
        assert time.monotonic() - began > 20
        assert "Stopping with turns unfinished" in deployment.log()
        # The agent was asked, and may be once more.
        assert turns(deployment) == [("waiting", 1)]
        deployment.bridge.start()
        assert deployment.answers(user, 1, timeout=60)[0].body.startswith("You're welcome")


LIMIT = """
import os, resource, sys
kind, most, *command = sys.argv[1:]
resource.setrlimit(getattr(resource, kind), (int(most), int(most)))
os.execv(command[0], command)
"""


@pytest.mark.parametrize(
    ("kind", "most", "told"),
    [
        ("RLIMIT_NPROC", "40", "only 40 processes and threads are allowed here"),
        ("RLIMIT_NOFILE", "1000", "TURN_THREADS 200 may need 2112 open files, and only 1000 are"),
    ],
)
def test_limits_that_cannot_fit_stop_the_start_with_one_sentence(
    deployment: Deployment, tmp_path: Path, kind: str, most: str, told: str
) -> None:
    command = [sys.executable, "-c", LIMIT, kind, most, *procfile_command("web")]
    settings = {**deployment.bridge.settings, "STATE_DIR": str(tmp_path / "state")}
    bridge = Bridge(log_file=tmp_path / "log", settings=settings, command=command)
    with pytest.raises(BridgeDied) as raised:
        bridge.start()
    errors = [line for line in str(raised.value).splitlines() if "Cannot start" in line]
    assert len(errors) == 1
    assert told in errors[0]
    assert "Traceback" not in str(raised.value)
