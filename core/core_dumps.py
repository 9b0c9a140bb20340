"""Closes a process to others of its user, such as an ffmpeg that a recording has taken over."""

from __future__ import annotations

import ctypes

# <linux/prctl.h>; Python has no name for it.
_PR_SET_DUMPABLE = 4


def forbid_dumping() -> None:
    """Let nobody but root read our environment and memory in /proc, trace us, or dump a core.

    What we fork inherits it; a program that this runs does not.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
