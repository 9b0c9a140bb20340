"""Protects a process from others of the same user, such as an ffmpeg that a recording exploited."""

from __future__ import annotations

import ctypes

# From <linux/prctl.h>; Python does not define it.
_PR_SET_DUMPABLE = 4


def forbid_dumping() -> None:
    """Forbid everybody but root to read our environment and memory, trace us, or dump a core.

    Forked processes inherit this; programs that they execute do not.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
