"""Code fences, which are the same in Markdown and in WhatsApp messages."""

from __future__ import annotations

import re

_FENCE_LINE = re.compile(r"^ {0,3}(`{3,10}|~{3,10})([^\n]*)$", re.MULTILINE)


def open_fence(text: str) -> str:
    """The fence that is open at the end of ``text``; "" if there is none."""
    opened = ""
    for line in _FENCE_LINE.finditer(text):
        fence, rest = line[1], line[2].strip()
        if not opened and "`" not in rest:
            opened = fence
        elif opened and fence.startswith(opened) and not rest:
            opened = ""
    return opened
