"""The machine: its limits, the folder of the database file, and ffmpeg."""

from __future__ import annotations

import math
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

from audio.ffmpeg import Ffmpeg, opus_seconds
from audio.ffmpeg_arguments import SAMPLE_RATE, SAMPLE_WIDTH
from checks.report import Check
from core.errors import BridgeError, SettingsError
from core.models import CheckResult
from core.process_limits import check_limits, memory_limit
from core.settings import Settings

LIMITS = Check("machine_limits", "Processes and files")
MEMORY = Check("machine_memory", "Memory")
STATE_DIR = Check("state_dir", "STATE_DIR")
FFMPEG = Check("ffmpeg", "ffmpeg")

MEGABYTE = 1024 * 1024
# What a process with 200 voice turns at once needs (docs/scaling.md), and one that is idle.
IDLE_BYTES = 150 * MEGABYTE
BYTES_PER_TURN = 1.2 * MEGABYTE
# Free space below which the database file may soon find none.
MIN_FREE_BYTES = 200 * MEGABYTE
TONE_SECONDS = 0.5
TONE_HERTZ = 440


def check_machine(settings: Settings) -> Iterator[CheckResult]:
    """Whether TURN_THREADS turns fit on this machine."""
    turns = settings.TURN_THREADS
    try:
        check_limits(turns)
    except SettingsError as error:
        yield LIMITS.fail(error.reason, error.hint)
    else:
        yield LIMITS.ok(f"allow {turns} turns at once (TURN_THREADS)")
    yield _check_memory(turns)
    if not settings.DATABASE_URL:
        yield _check_folder(Path(settings.STATE_DIR))


def check_ffmpeg(settings: Settings) -> Iterator[CheckResult]:
    """Encode a short tone as a voice note, and decode it again."""
    try:
        ffmpeg = Ffmpeg(path=settings.FFMPEG_PATH, max_seconds=settings.VOICE_NOTE_MAX_SECONDS)
        note = ffmpeg.encode_note(_tone())
        seconds = len(ffmpeg.decode(note)) / SAMPLE_RATE / SAMPLE_WIDTH
    except (BridgeError, OSError, RuntimeError) as error:
        yield FFMPEG.fail(f"does not work: {error}", "remove FFMPEG_PATH, or name another ffmpeg")
        return
    if abs(seconds - TONE_SECONDS) > 0.1 or not opus_seconds(note):
        yield FFMPEG.fail("changed a recording", "remove FFMPEG_PATH, or name another ffmpeg")
    else:
        yield FFMPEG.ok("writes and reads voice notes")


def _check_memory(turns: int) -> CheckResult:
    needed = IDLE_BYTES + turns * BYTES_PER_TURN
    available = memory_limit()
    if available >= needed:
        return MEMORY.ok(f"{available / MEGABYTE:.0f} MB")
    fitting = max(int((available - IDLE_BYTES) / BYTES_PER_TURN), 1)
    return MEMORY.warn(
        f"{available / MEGABYTE:.0f} MB are little for TURN_THREADS {turns}",
        f"set TURN_THREADS to {fitting}, or take a larger machine",
    )


def _check_folder(folder: Path) -> CheckResult:
    """Look without opening the database, which belongs to the running service."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return STATE_DIR.fail(
            "cannot be written", "name a folder of which the service is the owner"
        )
    if folder.exists() and folder.stat().st_mode & 0o1000:
        return STATE_DIR.fail(
            "is a folder that everybody shares", "name one that is for this service alone"
        )
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        return STATE_DIR.warn(f"has only {free / MEGABYTE:.0f} MB left", "free some space")
    return STATE_DIR.ok("can hold the database")


def _tone() -> bytes:
    """A WAV file with a short tone."""
    count = int(SAMPLE_RATE * TONE_SECONDS)
    wave = (math.sin(2 * math.pi * TONE_HERTZ * each / SAMPLE_RATE) for each in range(count))
    pcm = struct.pack(f"<{count}h", *(int(8000 * value) for value in wave))
    rate, width = SAMPLE_RATE, SAMPLE_WIDTH
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * width, width, 8 * width)
    data = struct.pack("<4sI", b"data", len(pcm)) + pcm
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data
