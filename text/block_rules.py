"""Rules of the Markdown parser for blocks, where chat differs from documents."""

from __future__ import annotations

import re

import regex
from markdown_it.common.utils import normalizeReference
from markdown_it.rules_block import StateBlock, blockquote, lheading, reference

from text.html_tags import HIDDEN, text_of

# A shorter ``=`` or ``-`` below a number is not an underline: it may belong to a sum.
_MIN_UNDERLINE_CHARACTERS = 3
# ``>65`` and ``>=5`` are comparisons; in a quote, a blank or a word follows the ``>``.
_COMPARISON = regex.compile(r">(?:=|[+-]?[\p{Sc}]?\p{Nd})")
_DEFINITION = re.compile(r"\[([^\]\d^][^\]\n]*)\]:\s*<?(?:https?://|mailto:)", re.IGNORECASE)
_HIDDEN_START = re.compile(rf"<(?:!--|(?P<name>{'|'.join(HIDDEN)}|pre)\b[^<>]*>)", re.IGNORECASE)


def read_quote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a quote, unless it is a comparison with a number.

    It ends at the first line without ``>``, as in WhatsApp. In CommonMark, its paragraph goes on.
    """
    if _COMPARISON.match(state.src, _position(state, start)):
        return False
    if not blockquote(state, start, end, silent=True):
        return False
    if silent:
        return True
    last_line, state.lineMax = state.lineMax, _end_of_quote(state, start, end)
    blockquote(state, start, state.lineMax, silent=False)
    state.lineMax = last_line
    return True


def _end_of_quote(state: StateBlock, start: int, end: int) -> int:
    lines = range(start + 1, end)
    return next((line for line in lines if not _has_quote_mark(state, line)), end)


def _has_quote_mark(state: StateBlock, line: int) -> bool:
    """Whether a ``>`` begins the line, within the item of a list that the quote is in."""
    is_within = state.sCount[line] >= state.blkIndent
    return is_within and state.src.startswith(">", _position(state, line), state.eMarks[line])


def read_underlined_heading(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a heading with an underline, if the underline is long enough."""
    tokens = len(state.tokens)
    if not lheading(state, start, end, silent):
        return False
    underline = state.getLines(state.line - 1, state.line, 0, False).strip()
    if len(underline) >= _MIN_UNDERLINE_CHARACTERS:
        return True
    del state.tokens[tokens:]
    state.line = start
    return False


def read_definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read the address of a label that is used in the text; other such lines stay as they are."""
    definition = _DEFINITION.match(state.src, _position(state, start))
    if not definition or not _is_used(state.src, definition[1]):
        return False
    if normalizeReference(definition[1]) in state.env.get("references", {}):
        return False
    return reference(state, start, end, silent)


def _is_used(text: str, label: str) -> bool:
    """Whether ``[label]`` occurs other than in definitions and before an address in brackets."""
    quoted = re.escape(f"[{label}]")
    unused = rf"^[ >]{{0,8}}{quoted}:|{quoted}\("
    return any(found[1] for found in re.finditer(rf"{unused}|({quoted})", text, re.MULTILINE))


def read_hidden_html(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a comment, a script or preformatted text of several lines, as HTML."""
    position = _position(state, start)
    hidden = _HIDDEN_START.match(state.src, position)
    limit = state.eMarks[end - 1]
    closing = _closing(state.src, hidden, limit) if hidden else None
    if not hidden or not closing or closing.end() <= state.eMarks[start]:
        return False
    if silent:
        return True
    if (hidden["name"] or "").lower() == "pre":
        fence = state.push("fence", "code", 0)
        fence.content = text_of(state.src[position : closing.end()]).strip("\n")
    _continue_after(state, start, closing.end())
    return True


def _position(state: StateBlock, line: int) -> int:
    return state.bMarks[line] + state.tShift[line]


def _closing(text: str, hidden: re.Match[str], limit: int) -> re.Match[str] | None:
    end = rf"</{hidden['name']}\s*>" if hidden["name"] else "-->"
    return re.compile(end, re.IGNORECASE).search(text, hidden.end(), limit)


def _continue_after(state: StateBlock, line: int, position: int) -> None:
    """Let the parser continue at ``position``, as if a line began there."""
    while state.eMarks[line] < position:
        line += 1
    rest = state.src[position : state.eMarks[line]]
    if not rest.strip():
        state.line = line + 1
        return
    state.bMarks[line] = position
    state.tShift[line] = len(rest) - len(rest.lstrip())
    state.sCount[line] = state.tShift[line] + state.blkIndent
    state.line = line
