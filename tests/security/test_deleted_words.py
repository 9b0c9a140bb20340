"""What was deleted is not left in the files of the database, and nobody else can read those."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sandbox.bridge import Bridge, BridgeDied
from storage.engine import FILE_NAME
from tests.e2e.conftest import ECHO_AGENT, StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

SAID = "My account number is 4711-0815-4242."
# So long that it lies in several pages.
TEXT = SAID + " Please look into it." * 150

HASTY = "from turns import cleanup; cleanup.INTERVAL = 0.2"
# Some two seconds.
BRIEF = {"RETENTION_HOURS": "0.0005", "SPEECH_CACHE_BYTES": "0"}


def holds_words(deployment: Deployment) -> bool:
    files = [file for file in deployment.bridge.state_dir.rglob("*") if file.is_file()]
    assert any(file.name == FILE_NAME for file in files)
    return any(SAID.encode() in file.read_bytes() for file in files)


def test_what_was_purged_is_in_no_file(start_deployment: StartDeployment) -> None:
    """Neither question nor answer, while the service runs, after a clean stop, or after a kill."""
    with start_deployment(helpdesk_file=ECHO_AGENT, command=planted(HASTY), **BRIEF) as deployment:
        user = deployment.user()
        deployment.twilio.say(user, TEXT)
        assert SAID in deployment.answers(user, 1)[0].body
        assert holds_words(deployment)
        wait_until(lambda: "Old turns purged" in deployment.log(), "the turn to be purged")
        wait_until(lambda: not holds_words(deployment), "the files to be cleared", timeout=10)
        deployment.bridge.stop()
        assert not holds_words(deployment)
        assert not list(deployment.bridge.state_dir.glob(f"{FILE_NAME}-*"))


def test_a_killed_process_leaves_nothing_either(start_deployment: StartDeployment) -> None:
    """What it had not moved into the database the next one does, and purges."""
    with start_deployment(helpdesk_file=ECHO_AGENT, command=planted(HASTY), **BRIEF) as deployment:
        user = deployment.user()
        deployment.twilio.say(user, TEXT)
        deployment.answers(user, 1)
        deployment.bridge.kill()
        assert holds_words(deployment)
        deployment.bridge.start()
        wait_until(lambda: not holds_words(deployment), "the files to be cleared", timeout=10)


def test_a_folder_that_is_there_already_is_closed_to_others(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment() as deployment:
        folder = deployment.bridge.state_dir
        deployment.bridge.stop()
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)
        deployment.bridge.start()
        user = deployment.user()
        deployment.twilio.say(user, "hello")
        deployment.answers(user, 1)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        assert {FILE_NAME, f"{FILE_NAME}-wal", "lock"} <= modes.keys()
        assert set(modes.values()) == {0o600}


def test_a_folder_that_everybody_shares_is_refused(
    start_deployment: StartDeployment, tmp_path: Path
) -> None:
    """Closing /tmp to others would stop the machine."""
    tmp_path.chmod(0o1777)
    with start_deployment() as deployment:
        settings = deployment.bridge.settings | {"STATE_DIR": str(tmp_path)}
        with pytest.raises(BridgeDied, match="is a folder that everybody shares"):
            Bridge(log_file=tmp_path / "log", settings=settings).start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
