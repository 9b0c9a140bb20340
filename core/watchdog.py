"""Ends a process whose interpreter stands still, so that another one can go on with its turns."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from typing import TextIO

# Nothing holds the interpreter for longer than a fraction of a second. gunicorn's own watch sees a
# worker only from its first beat on, and nobody watches worker.py.
FROZEN_SECONDS = 30.0
BEAT_SECONDS = 5.0


def start() -> None:
    """From now on, exit with status 1 where no Python code ran for ``FROZEN_SECONDS``.

    The stacks of all threads go to standard error before that: names of functions and lines only.
    """
    # Where it is replaced, as in tests, the real one has a file.
    threading.Thread(target=_beat, args=(sys.__stderr__,), name="watchdog", daemon=True).start()


def _beat(log: TextIO) -> None:
    while True:
        # A timer of the C library, which needs no interpreter; each call sets it anew.
        faulthandler.dump_traceback_later(FROZEN_SECONDS, exit=True, file=log)
        time.sleep(BEAT_SECONDS)
