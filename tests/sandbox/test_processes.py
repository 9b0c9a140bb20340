"""The processes of the Procfile, and clusters of them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from sandbox.bridge import ROOT, Bridge, BridgeDied, Process, Worker, procfile_command
from sandbox.cluster import Cluster
from tests.sandbox.stub import COMMAND
from tests.sandbox.waiting import wait_until, wait_until_ended


def worker(folder: Path, kind: str = "worker") -> Worker:
    return Worker(log_file=folder / "worker.log", command=[*COMMAND, kind])


def answer(url: str) -> int:
    """The PID of the web process that answers."""
    return int(requests.get(url, timeout=10).text)


def family(process: Process) -> list[psutil.Process]:
    first = psutil.Process(process.pid)
    return [first, *first.children(recursive=True)]


def wait_for_state(process: psutil.Process, *states: str) -> None:
    wait_until(lambda: process.status() in states, f"{process} being {states}")


def test_the_web_is_started_by_the_procfiles_command() -> None:
    assert procfile_command("web") == [
        *(sys.executable, "-m", "gunicorn", "app:create_app()"),
    ]


def test_commands_are_run_by_this_python_with_their_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "Procfile").write_text(
        "web: A=b C='d e' gunicorn f=g\nworker: python worker.py --all\n"
    )
    monkeypatch.setattr("sandbox.bridge.ROOT", tmp_path)
    assert procfile_command("web") == [
        "env",
        "A=b",
        "C=d e",
        sys.executable,
        "-m",
        "gunicorn",
        "f=g",
    ]
    assert procfile_command("worker") == [sys.executable, "worker.py", "--all"]
    with pytest.raises(RuntimeError, match="no clock process"):
        procfile_command("clock")


def test_start_waits_for_the_ready_line_of_each_start(tmp_path: Path) -> None:
    process = worker(tmp_path)
    process.settings = {"DATABASE_URL": "postgres://somewhere"}
    with process:
        assert process.log() == "Worker ready on postgres://somewhere\n"
        process.kill()
        process.start()
        # The line of the first start did not count for the second.
        assert process.log().count("Worker ready") == 2
        assert process.stop() == 0
    with pytest.raises(RuntimeError, match="not running"):
        _ = process.pid


def test_a_process_that_runs_is_not_started_a_second_time(tmp_path: Path) -> None:
    """Neither when several threads start it at once, as the demo and its page may do."""
    process = worker(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: process.start(), range(4)))
    assert process.log().count("Worker ready") == 1
    assert process.is_running()
    assert process.stop() == 0
    assert not process.is_running()


def test_a_process_that_somebody_killed_is_started_again_without_its_old_children(
    tmp_path: Path,
) -> None:
    process = worker(tmp_path, "child")
    process.start()
    members = family(process)
    members[0].kill()
    wait_until(lambda: not process.is_running(), "the end of the first process")
    process.start()
    wait_until_ended(members)
    assert process.is_running()
    process.kill()


STARTED = """
import sys
from pathlib import Path
from sandbox.bridge import Worker
worker = Worker(log_file=Path(sys.argv[1]) / "worker.log", command=sys.argv[2:])
worker.start()
print(worker.pid, flush=True)
sys.stdin.read()
"""


def test_a_process_and_its_children_do_not_outlive_who_started_them(tmp_path: Path) -> None:
    """Otherwise a bridge would call the stand-ins of the demo that is started next."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTED, str(tmp_path), *COMMAND, "child"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with starter:
        assert starter.stdout
        first = psutil.Process(int(starter.stdout.readline()))
        members = [first, *first.children(recursive=True)]
        starter.kill()
    assert len(members) == 2
    wait_until_ended(members)


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Also where the tests run in the background of a shell, which ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_during_the_start_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has begun, and is not kept yet, could not be stopped."""
    begun: list[psutil.Process] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            begun.append(psutil.Process(self.pid))
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    process = worker(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        process.start()
    process.kill()
    assert len(begun) == 1
    wait_until_ended(begun)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_failed_start_raises_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(BridgeDied, match="it has no settings"):
        worker(tmp_path, "dies").start()


def test_kill_includes_children(tmp_path: Path) -> None:
    process = worker(tmp_path, "child")
    process.start()
    members = family(process)
    process.kill()
    assert len(members) == 2
    wait_until_ended(members)


def test_pause_and_resume_include_children(tmp_path: Path) -> None:
    with worker(tmp_path, "child") as process:
        members = family(process)
        process.pause()
        for member in members:
            wait_for_state(member, psutil.STATUS_STOPPED)
        process.resume()
        for member in members:
            wait_for_state(member, psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING)
        process.kill()


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    with worker(tmp_path) as process:
        process.pause()
        assert process.stop() == 0


def test_resource_usage_includes_children(tmp_path: Path) -> None:
    with worker(tmp_path) as alone:
        assert alone.threads() == 1
        memory = alone.resident_memory()
        assert 2**20 < memory < 2**30
        # Standard input, output and error; a process inherits no other descriptors.
        assert alone.descriptors() == 3
        assert alone.sockets() == 0
    with worker(tmp_path, "child") as both:
        assert both.threads() == 2
        both.kill()


def test_a_bridge_answers_at_its_url(tmp_path: Path) -> None:
    with Bridge(log_file=tmp_path / "web.log", command=[*COMMAND, "web"]) as bridge:
        assert answer(bridge.url) == bridge.pid
        with socket.create_connection(("127.0.0.1", bridge.port)):
            wait_until(lambda: bridge.sockets() == 2, "a listener and a caller")
        assert bridge.descriptors() > bridge.sockets()


def cluster(folder: Path, worker_kind: str = "worker") -> Cluster:
    return Cluster(
        folder=folder,
        database_url="postgres://somewhere",
        web_command=[*COMMAND, "web"],
        worker_command=[*COMMAND, worker_kind],
    )


def test_a_cluster_has_one_url_for_all_webs(tmp_path: Path) -> None:
    with cluster(tmp_path) as many:
        assert {answer(many.url) for _ in range(4)} == {web.pid for web in many.webs}
        many.webs[0].kill()
        assert {answer(many.url) for _ in range(4)} == {many.webs[1].pid}
        many.webs[0].start()
        assert {answer(many.url) for _ in range(4)} == {web.pid for web in many.webs}
        assert many.stop() == [-signal.SIGTERM, -signal.SIGTERM, 0, 0]
    with pytest.raises(requests.ConnectionError):
        answer(many.url)


def test_all_processes_of_a_cluster_have_its_settings(tmp_path: Path) -> None:
    many = cluster(tmp_path)
    many.settings = {"LOG_LEVEL": "DEBUG"}
    with many:
        shared = {"DATABASE_URL": "postgres://somewhere", "PUBLIC_URL": many.url}
        for process in many.processes:
            assert process.settings == shared | {"LOG_LEVEL": "DEBUG"}
        assert many.log().count("Worker ready on postgres://somewhere") == 2
        assert len({process.state_dir for process in many.processes}) == 4


def test_a_cluster_that_fails_to_start_stops_all_its_processes(tmp_path: Path) -> None:
    many = cluster(tmp_path, "dies")
    with pytest.raises(BridgeDied):
        many.start()
    for process in many.processes:
        with pytest.raises(RuntimeError, match="not running"):
            _ = process.pid
    with pytest.raises(requests.ConnectionError):
        answer(many.url)
