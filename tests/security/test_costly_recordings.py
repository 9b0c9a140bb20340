"""Recordings that take far more to decode than a sender takes to make them.

Each gets its one plain line, others are served meanwhile, and the service does little for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psutil
import pytest

from sandbox.bridge import Process
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.unit.audio.hostile_containers import (
    caf_chunk,
    caf_file,
    endless_blocks,
    packet_table,
    wav,
)
from tests.unit.audio.hostile_media import box, mp4, note
from tests.unit.audio.recordings import FOREIGN_BYTES
from tests.unit.audio.test_frames import ENDLESS
from tests.unit.ogg_pages import SILENT_FRAMES

QUESTION = "How do I register an electronic invoice?"
MEGABYTE = 1024 * 1024
# WhatsApp takes a little more.
SIZE = 15 * MEGABYTE
TOO_LONG = "Sorry, that recording is too long"
UNREADABLE = "Sorry, I couldn't play that recording."
# On the machine where each takes 8 to 20 s without these bounds, none takes 2 s.
MOST_CPU_SECONDS = 6.0

COSTLY: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "AMR of empty frames": ("audio/amr", lambda: ENDLESS["AMR"](SIZE), TOO_LONG),
    "AAC of empty frames": ("audio/aac", lambda: ENDLESS["AAC"](SIZE), TOO_LONG),
    "Ogg of beginnings of pages": ("audio/ogg", lambda: ENDLESS["Ogg"](SIZE), TOO_LONG),
    "Opus, then beginnings of pages": (
        "audio/ogg",
        lambda: note("ogg") + ENDLESS["Ogg"](SIZE),
        TOO_LONG,
    ),
    "WebM whose time stands still": (
        "audio/webm",
        lambda: endless_blocks(SILENT_FRAMES),
        TOO_LONG,
    ),
    "WebM of packets that are none": ("audio/webm", lambda: endless_blocks(b"\xff"), UNREADABLE),
    "CAF of packets that are none": (
        "audio/x-caf",
        lambda: caf_file(
            packet_table(b"\1" * (SIZE // 2), packets=SIZE // 2),
            caf_chunk(b"data", b"\xff" * (SIZE // 2)),
        ),
        UNREADABLE,
    ),
    "MP4 of empty boxes": ("audio/mp4", lambda: box(b"free") * (SIZE // 8), UNREADABLE),
    "ADTS of empty frames behind foreign bytes": (
        "audio/aac",
        lambda: FOREIGN_BYTES + ENDLESS["AAC"](SIZE),
        TOO_LONG,
    ),
    "WAV of days": ("audio/wav", lambda: wav(bytes(SIZE), rate=1, bits=8), TOO_LONG),
    "MP4 of empty frames of AMR": (
        "audio/mp4",
        lambda: mp4(samples=MEGABYTE, amr=b"\x7c"),
        UNREADABLE,
    ),
}


@pytest.fixture(scope="module")
def attacked(start_deployment: StartDeployment) -> Iterator[Deployment]:
    # Where the service takes long, that is told by what it used.
    with start_deployment(STILL_WORKING_AFTER="300") as deployment:
        yield deployment


def cpu_seconds(first: Process) -> float:
    """What the service has used, with programs that it ran, ended ones included."""
    group = [psutil.Process(first.pid), *psutil.Process(first.pid).children()]
    return float(sum(sum(each.cpu_times()[:4]) for each in group))


@pytest.mark.parametrize(("media_type", "make", "told"), COSTLY.values(), ids=COSTLY)
def test_it_costs_little_and_others_are_served(
    attacked: Deployment, media_type: str, make: Callable[[], bytes], told: str
) -> None:
    attacker, other = attacked.user(), attacked.user()
    before = cpu_seconds(attacked.bridge)
    attacked.twilio.speak(attacker, make(), content_type=media_type)
    attacked.twilio.speak(other, attacked.note(QUESTION))
    attacked.twilio.wait_for_voice(other)
    assert attacked.answers(attacker, 1)[0].body.startswith(told)
    attacked.expect_no_more(attacker, 1)
    assert cpu_seconds(attacked.bridge) - before < MOST_CPU_SECONDS
