"""Writes WhatsApp's marks for bold, italic and struck text, where WhatsApp applies them.

WhatsApp applies a mark only if it touches its text, closes on the same line, and has a border: next
to a word or number of an alphabet with blanks between words, the marked text must have punctuation
there. Next to an address, a mark would become part of the address. In other places the marks are
left out. So marks are first written as tokens, and replaced when the whole text is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from text.addresses import find_addresses
from text.characters import is_alphabetic
from text.html_tags import LINE_BORDER

BOLD, ITALIC, STRIKE = "*", "_", "~"

# Control characters, which ``clean`` removes from the agent's text. A token is one of them, for an
# opening or a closing mark, followed by the mark.
_OPEN, _CLOSE = "\x02", "\x03"
_TOKEN = re.compile(f"[{_OPEN}{_CLOSE}][*_~]")
_LINE_BREAKS = re.compile(rf"([\n{LINE_BORDER}])")


@dataclass(slots=True)
class _Pair:
    """A marked text: its mark and its position in the text without tokens."""

    mark: str
    start: int
    end: int
    shows: bool = False


def mark_text(mark: str, text: str) -> str:
    """``text`` with tokens for the mark around each line, which ``write_marks`` replaces."""
    return "".join(_mark_line(mark, line) for line in _LINE_BREAKS.split(text))


def without_marks(text: str) -> str:
    """``text`` without tokens."""
    return _TOKEN.sub("", text)


def write_marks(text: str) -> str:
    """``text`` with marks in place of the tokens, where WhatsApp applies them."""
    plain = without_marks(text)
    starts, ends = _address_borders(plain)
    pairs = _pairs(text)
    for pair in pairs:
        pair.shows = (
            pair.mark not in plain[pair.start : pair.end]
            and not {pair.start, pair.end} & (starts | ends)
            and _shows_between(plain[pair.start - 1 : pair.start], plain[pair.start])
            and _shows_between(plain[pair.end : pair.end + 1], plain[pair.end - 1])
        )
    return "".join(_replace_tokens(text, iter(pairs)))


def _mark_line(mark: str, line: str) -> str:
    inner = line.strip()
    if not without_marks(inner).strip():
        return line
    start = line.index(inner)
    before, after = line[:start], line[start + len(inner) :]
    return f"{before}{_OPEN}{mark}{inner}{_CLOSE}{mark}{after}"


def _address_borders(plain: str) -> tuple[frozenset[int], frozenset[int]]:
    addresses = list(find_addresses(plain))
    return frozenset(start for start, _ in addresses), frozenset(end for _, end in addresses)


def _shows_between(outside: str, inside: str) -> bool:
    return not (outside and is_alphabetic(outside) and is_alphabetic(inside))


def _pairs(text: str) -> list[_Pair]:
    """All pairs of tokens, in the order in which they begin."""
    pairs: list[_Pair] = []
    open_pairs: list[_Pair] = []
    for number, token in enumerate(_TOKEN.finditer(text)):
        position = token.start() - number * len(token[0])
        if token[0][0] == _OPEN:
            open_pairs.append(_Pair(token[0][1], position, position))
            pairs.append(open_pairs[-1])
        else:
            open_pairs.pop().end = position
    return pairs


def _replace_tokens(text: str, pairs: Iterator[_Pair]) -> Iterator[str]:
    """Yields the fragments of the text; a mark within the same mark is left out."""
    position = 0
    written: list[str] = []
    for token in _TOKEN.finditer(text):
        yield text[position : token.start()]
        position = token.end()
        if token[0][0] == _OPEN:
            pair = next(pairs)
            written.append(pair.mark if pair.shows and pair.mark not in written else "")
            yield written[-1]
        else:
            yield written.pop()
    yield text[position:]
