"""Ends a process whose interpreter hangs, so that another process can take its turns over."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from typing import TextIO

# Nothing we do holds the interpreter for longer than a fraction of a second. gunicorn watches its
# worker only from its first heartbeat on, and does not watch worker.py.
FROZEN_SECONDS = 30.0
BEAT_SECONDS = 5.0


def start() -> None:
    """From now on, exit with status 1 if no Python code has run for ``FROZEN_SECONDS``.

    Before that, the stacks of all threads are written to standard error: functions and line
    numbers only.
    """
    # ``sys.stderr`` may be replaced, as in tests, by an object without a file descriptor.
    threading.Thread(target=_beat, args=(sys.__stderr__,), name="watchdog", daemon=True).start()


def _beat(log: TextIO) -> None:
    while True:
        # The timer runs in C and does not need the interpreter; each call starts it again.
        faulthandler.dump_traceback_later(FROZEN_SECONDS, exit=True, file=log)
        time.sleep(BEAT_SECONDS)
