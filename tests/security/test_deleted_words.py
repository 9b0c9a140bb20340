"""What was deleted is not left in the files of the database, and nobody else can read those."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sandbox.bridge import Bridge, BridgeDied
from storage.engine import FILE_NAME
from tests.e2e.conftest import PARROT, StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

SAID = "My account number is 4711-0815-4242."
# So long that it lies in several pages.
TEXT = SAID + " Please look into it." * 150

HASTY = "from turns import cleanup; cleanup.INTERVAL = 0.2"
# Some two seconds.
BRIEF = {"RETENTION_HOURS": "0.0005", "SPEECH_CACHE_BYTES": "0"}


def holds_words(world: World) -> bool:
    files = [file for file in world.bridge.state_dir.rglob("*") if file.is_file()]
    assert any(file.name == FILE_NAME for file in files)
    return any(SAID.encode() in file.read_bytes() for file in files)


def test_what_was_purged_is_in_no_file(start_world: StartWorld) -> None:
    """Neither question nor answer, while the service runs, after a clean stop, or after a kill."""
    with start_world(helpdesk_file=PARROT, command=planted(HASTY), **BRIEF) as world:
        user = world.user()
        world.twilio.say(user, TEXT)
        assert SAID in world.answers(user, 1)[0].body
        assert holds_words(world)
        wait_until(lambda: "Old turns purged" in world.log(), "the turn to be purged")
        wait_until(lambda: not holds_words(world), "the files to be cleared", timeout=10)
        world.bridge.stop()
        assert not holds_words(world)
        assert not list(world.bridge.state_dir.glob(f"{FILE_NAME}-*"))


def test_a_killed_process_leaves_nothing_either(start_world: StartWorld) -> None:
    """What it had not moved into the database the next one does, and purges."""
    with start_world(helpdesk_file=PARROT, command=planted(HASTY), **BRIEF) as world:
        user = world.user()
        world.twilio.say(user, TEXT)
        world.answers(user, 1)
        world.bridge.kill()
        assert holds_words(world)
        world.bridge.start()
        wait_until(lambda: not holds_words(world), "the files to be cleared", timeout=10)


def test_a_folder_that_is_there_already_is_closed_to_others(start_world: StartWorld) -> None:
    with start_world() as world:
        folder = world.bridge.state_dir
        world.bridge.stop()
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)
        world.bridge.start()
        user = world.user()
        world.twilio.say(user, "hello")
        world.answers(user, 1)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        assert {FILE_NAME, f"{FILE_NAME}-wal", "lock"} <= modes.keys()
        assert set(modes.values()) == {0o600}


def test_a_folder_that_everybody_shares_is_refused(start_world: StartWorld, tmp_path: Path) -> None:
    """Closing /tmp to others would stop the machine."""
    tmp_path.chmod(0o1777)
    with start_world() as world:
        settings = world.bridge.settings | {"STATE_DIR": str(tmp_path)}
        with pytest.raises(BridgeDied, match="is a folder that everybody shares"):
            Bridge(log_file=tmp_path / "log", settings=settings).start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
