"""Splits long Markdown into parts that can be parsed separately."""

from __future__ import annotations

import re
from collections.abc import Iterator

from text.splitting import split_message

# The data of an image or a file within a ``data:`` address, which would fill whole messages.
_DATA = re.compile(
    r"(data:[\w.+-]+/[\w.+-]+(?:;[\w.+=-]+)*,)[\w%+/=.~!$&*;:@?-]{20,}", re.IGNORECASE
)
_DELIMITER_ROW = re.compile(r"[ :|-]*+")


def split_markdown(markdown: str, max_characters: int) -> Iterator[str]:
    """Yields parts of about ``max_characters``.

    A code fence that continues in the next part is opened there again, and the header of a table is
    repeated. Data within ``data:`` addresses is left out.
    """
    header = ""
    for part in split_message(_DATA.sub(r"\1", markdown), max_characters):
        first_line = part.split("\n", 1)[0]
        whole = f"{header}\n{part}" if header and "|" in first_line else part
        yield whole
        header = _table_header(whole)


def _table_header(part: str) -> str:
    """The first two lines of the table that ``part`` ends with; "" if it ends with none."""
    lines = part.rpartition("\n\n")[2].split("\n")
    if len(lines) < 2 or "|" not in lines[0] or "-" not in lines[1]:
        return ""
    if not _DELIMITER_ROW.fullmatch(lines[1]):
        return ""
    return "\n".join(lines[:2])
