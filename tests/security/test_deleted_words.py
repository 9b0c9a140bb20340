"""Deleted texts are not left in the files of the database, which only the service can read."""

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
# So long that it takes several pages of the file.
TEXT = SAID + " Please look into it." * 150

FREQUENT_CLEANUP = "from turns import cleanup; cleanup.INTERVAL = 0.2"
# Texts are kept for about two seconds.
SHORT_RETENTION = {"RETENTION_HOURS": "0.0005", "SPEECH_CACHE_BYTES": "0"}


def files_contain_text(deployment: Deployment) -> bool:
    files = [file for file in deployment.bridge.state_dir.rglob("*") if file.is_file()]
    assert any(file.name == FILE_NAME for file in files)
    return any(SAID.encode() in file.read_bytes() for file in files)


def test_a_purged_text_is_in_no_file(start_deployment: StartDeployment) -> None:
    """Neither while the service runs nor after a clean stop."""
    with start_deployment(
        helpdesk_file=ECHO_AGENT, command=planted(FREQUENT_CLEANUP), **SHORT_RETENTION
    ) as deployment:
        user = deployment.user()
        deployment.twilio.say(user, TEXT)
        assert SAID in deployment.answers(user, 1)[0].body
        assert files_contain_text(deployment)
        wait_until(lambda: "Old turns purged" in deployment.log(), "the turn to be purged")
        wait_until(
            lambda: not files_contain_text(deployment), "the files to be cleared", timeout=10
        )
        deployment.bridge.stop()
        assert not files_contain_text(deployment)
        assert not list(deployment.bridge.state_dir.glob(f"{FILE_NAME}-*"))


def test_a_text_that_a_killed_process_left_is_purged_after_the_restart(
    start_deployment: StartDeployment,
) -> None:
    """The next process also clears the write-ahead log that the killed one left."""
    with start_deployment(
        helpdesk_file=ECHO_AGENT, command=planted(FREQUENT_CLEANUP), **SHORT_RETENTION
    ) as deployment:
        deployment.ask(TEXT)
        deployment.bridge.kill()
        assert files_contain_text(deployment)
        deployment.bridge.start()
        wait_until(
            lambda: not files_contain_text(deployment), "the files to be cleared", timeout=10
        )


def test_an_existing_folder_is_closed_to_other_users(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment() as deployment:
        folder = deployment.bridge.state_dir
        deployment.bridge.stop()
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)
        deployment.bridge.start()
        deployment.ask("hello")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        assert {FILE_NAME, f"{FILE_NAME}-wal", "lock"} <= modes.keys()
        assert set(modes.values()) == {0o600}


def test_a_folder_that_everybody_shares_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    """The service would close a folder like /tmp to everybody else."""
    tmp_path.chmod(0o1777)
    settings = deployment.bridge.settings | {"STATE_DIR": str(tmp_path)}
    with pytest.raises(BridgeDied, match="is a folder that everybody shares"):
        Bridge(log_file=tmp_path / "log", settings=settings).start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
