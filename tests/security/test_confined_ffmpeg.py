"""A recording takes over ffmpeg; whatever it makes ffmpeg do reaches nothing of the service.

A program in ffmpeg's place plays the one that was taken over.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import landlockpy
import psutil
import pytest

from sandbox import CREDENTIALS
from sandbox.bridge import Process
from storage.engine import FILE_NAME
from tests.e2e.conftest import StartCluster, StartDeployment

UNREADABLE = "Sorry, I couldn't play that recording."
ABSTRACT = "of-the-service"
PR_CAPBSET_DROP = 24
# CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON.
LOOK_INTO_ANY = (19, 21, 38)

# Says in its last words what it could do. Perl, because that needs no file to start with.
PROGRAM = r"""#!{perl}
sub reads {{ open(FILE, "<", $_[0]) && defined(sysread(FILE, my $byte, 1)) }}
my ($any, $here) = map {{ pack("S n C4 x8", 2, $_, 127, 0, 0, 1) }} 0, {port};
my %attempts = (
    "read the environment of the service" => sub {{ reads("/proc/" . getppid() . "/environ") }},
    "be told a secret" => sub {{ defined $ENV{{"TWILIO_AUTH_TOKEN"}} }},
    "list the folder of the database" => sub {{ opendir(my $folder, "{folder}") }},
    "read the database" => sub {{ reads("{database}") }},
    "read any file" => sub {{ reads("{file}") }},
    "write a file" => sub {{ open(my $file, ">>", "{file}") }},
    "connect" => sub {{ socket(TCP, 2, 1, 0) && connect(TCP, $here) }},
    "listen" => sub {{ socket(PORT, 2, 1, 0) && bind(PORT, $any) }},
    "connect to an abstract socket" =>
        sub {{ socket(UNIX, 1, 1, 0) && connect(UNIX, pack("S a*", 1, "\0{abstract}")) }},
    "signal the service" => sub {{ kill(0, getppid()) }},
);
my @managed = grep {{ $attempts{{$_}}->() }} sort keys %attempts;
print STDERR "managed: ", join(", ", @managed), ".";
exit 1;
"""
ATTEMPTS = sorted(re.findall('"(.*)" =>', PROGRAM))


@pytest.fixture
def attacker(tmp_path: Path) -> Iterator[str]:
    """A program that attempts ATTEMPTS, with somebody to connect to and a file to read."""
    perl = shutil.which("perl") or pytest.skip("no perl")
    file, program = tmp_path / "secret", tmp_path / "ffmpeg"
    file.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + ABSTRACT)
        unix.listen()
        written = PROGRAM.format(
            perl=perl,
            folder=tmp_path,
            database=tmp_path / FILE_NAME,
            file=file,
            port=tcp.getsockname()[1],
            abstract=ABSTRACT,
        )
        program.write_text(written)
        program.chmod(0o755)
        yield str(program)


def test_unconfined_it_manages_all(attacker: str, tmp_path: Path) -> None:
    """So that the next test means something."""
    (tmp_path / FILE_NAME).touch()
    done = subprocess.run([attacker], env=CREDENTIALS, capture_output=True, check=False, text=True)
    assert done.stderr == f"managed: {', '.join(ATTEMPTS)}."


@pytest.mark.skipif(landlockpy.abi_version() < 6, reason="this kernel confines less")
def test_it_reaches_nothing_of_the_service(
    start_deployment: StartDeployment, attacker: str, tmp_path: Path
) -> None:
    with start_deployment(FFMPEG_PATH=attacker, STATE_DIR=str(tmp_path)) as deployment:
        assert (tmp_path / FILE_NAME).exists()
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("How do I register an electronic invoice?"))
        assert deployment.answers(user, 1)[0].body.startswith(UNREADABLE)
        assert set(re.findall(r"managed: .*?\.", deployment.log())) == {"managed: ."}
        deployment.twilio.say(user, "hello")
        assert deployment.answers(user, 2)[1].body.startswith("Hello!")


@pytest.fixture
def powerless() -> Iterator[ThreadPoolExecutor]:
    """A thread that starts programs which, even as root, may not look into any process."""

    def drop_capabilities() -> None:
        for capability in LOOK_INTO_ANY:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    with ThreadPoolExecutor(1, initializer=drop_capabilities) as thread:
        yield thread


def environments(first: Process) -> bytes:
    """What another program of the same user reads in the environments of a process's group."""
    group = [first.pid, *(each.pid for each in psutil.Process(first.pid).children())]
    files = [f"/proc/{pid}/environ" for pid in group]
    return subprocess.run(["cat", *files], capture_output=True, check=False).stdout


@pytest.mark.parametrize(("dumpable", "read"), [("false", 0), ("true", 2)])
def test_no_program_of_the_same_user_reads_the_services_environment(
    start_deployment: StartDeployment, powerless: ThreadPoolExecutor, dumpable: str, read: int
) -> None:
    """Of the process that serves, and of the one that started it; but for DUMPABLE=true."""

    def secrets_read() -> int:
        with start_deployment(DUMPABLE=dumpable) as deployment:
            return environments(deployment.bridge).count(b"TWILIO_AUTH_TOKEN=")

    assert powerless.submit(secrets_read).result() == read


@pytest.mark.parametrize(("dumpable", "read"), [("false", 0), ("true", 1)])
def test_no_program_of_the_same_user_reads_a_workers_environment(
    start_cluster: StartCluster, powerless: ThreadPoolExecutor, dumpable: str, read: int
) -> None:
    def secrets_read() -> int:
        with start_cluster(webs=1, workers=1, DUMPABLE=dumpable) as (_, cluster):
            return environments(cluster.workers[0]).count(b"TWILIO_AUTH_TOKEN=")

    assert powerless.submit(secrets_read).result() == read
