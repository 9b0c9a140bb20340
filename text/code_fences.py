"""Code fences, which are the same in Markdown and in WhatsApp messages."""

from __future__ import annotations

import re

_FENCE_LINE = re.compile(r"^( {0,3})(`{3,10}|~{3,10})([^\n]*)$", re.MULTILINE)


def open_fence(text: str) -> str:
    """The fence that is open at the end of ``text``; "" if there is none."""
    return _open_line(text).lstrip()


def close_fence(text: str) -> str:
    """The text, with the fence that is open at its end closed, so that more text can follow."""
    line = _open_line(text)
    # In a list item, a fence without the item's indentation would end the item and open a program.
    return f"{text.rstrip()}\n{line}" if line else text


def _open_line(text: str) -> str:
    """The open fence with its indentation; "" if there is none."""
    indentation, opened = "", ""
    for line in _FENCE_LINE.finditer(text):
        fence, rest = line[2], line[3].strip()
        if not opened and "`" not in rest:
            indentation, opened = line[1], fence
        elif opened and fence.startswith(opened) and not rest:
            indentation, opened = "", ""
    return indentation + opened
