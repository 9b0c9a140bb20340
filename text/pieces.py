"""Long Markdown in pieces that each can be read for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from text.splitting import split_message

# The data of an image or a file within its address. Nobody can read it, and it fills messages.
_DATA = re.compile(
    r"(data:[\w.+-]+/[\w.+-]+(?:;[\w.+=-]+)*,)[\w%+/=.~!$&*;:@?-]{20,}", re.IGNORECASE
)
_DELIMITER_ROW = re.compile(r"[ :|-]*+")


def split_markdown(markdown: str, longest: int) -> Iterator[str]:
    """Pieces of about ``longest`` characters.

    A code fence or a table that goes on in the next piece is opened there once more. Data within
    addresses is left out.
    """
    header = ""
    for piece in split_message(_DATA.sub(r"\1", markdown), longest):
        first_line = piece.split("\n", 1)[0]
        whole = f"{header}\n{piece}" if header and "|" in first_line else piece
        yield whole
        header = _table_header(whole)


def _table_header(piece: str) -> str:
    """The first two lines of the table that ``piece`` ends with; "" if it ends with none."""
    lines = piece.rpartition("\n\n")[2].split("\n")
    if len(lines) < 2 or "|" not in lines[0] or "-" not in lines[1]:
        return ""
    if not _DELIMITER_ROW.fullmatch(lines[1]):
        return ""
    return "\n".join(lines[:2])
