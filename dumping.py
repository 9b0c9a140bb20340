"""Closes this process to others of its user, such as an ffmpeg that a recording has taken over."""

from __future__ import annotations

import ctypes

import structlog

log = structlog.get_logger(__name__)

# <linux/prctl.h>; Python has no name for it.
_PR_SET_DUMPABLE = 4


def forbid_dumping() -> None:
    """Let nobody but root read our environment and memory in /proc, trace us, or dump a core.

    Children that we fork inherit it; programs that they run do not.
    """
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("Others of this user can read this process's memory: prctl refused")
