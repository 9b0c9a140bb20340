"""A rule of the Markdown parser that finds marks of emphasis: stars, underscores and tildes.

CommonMark requires blanks or punctuation around marks. Many scripts have none there, and agents
write codes and masked characters with stars. So the rule decides as a reader would:

- A mark touches the text that it marks, on the inner side.
- Between two letters or digits of alphabets with blanks between words, a mark is part of the word:
  ``m***a@g***l.com``, ``2*3``, ``snake_case``. Only ``**`` may close within a word, as in
  ``**Price**s``, if nothing later closes the bold text.
- Next to other letters ``**`` opens or closes: ``**重要：**请``, ``و**مهم**``. A single mark, and
  ``__``, also needs a border on the outer side, because names are masked as in ``张*三``. A
  particle of one letter counts as a border, as in ``و*مهم*``.
- A single star after a digit or a currency is part of it, as in ``4* hotel`` or ``99 €*``, unless
  it closes a text that a single star has opened.
- Four or more stars are not a mark, nor are one or three tildes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import regex
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter

from text.characters import STOPS, category, is_alphabetic, is_blank

_MARKS = "*_~"
_AMOUNT_END = regex.compile(r"[\p{Nd}\p{Sc}]")
_PARTICLE = regex.compile(r"[\p{Arabic}\p{Hebrew}]")
_PAIRS_OF_STARS = re.compile(r"(?<!\*)\*\*(?!\*)")
_MAX_RUN = 3
# A limit for the later pairs of stars that are examined, so that the time is linear.
_LOOK_AHEAD_RUNS = 8
# The same for the earlier marks that are examined.
_LOOK_BACK_DELIMITERS = 16

_OPENING = frozenset(("Ps", "Pi"))
_CLOSING = frozenset(("Pe", "Pf"))
# Unicode categories of the characters that may be on the outer side of a single mark: brackets,
# quotation marks, dashes, other punctuation and emoji, except for signs of formulas, paths and
# addresses.
_BORDERS = frozenset(("Ps", "Pi", "Pe", "Pf", "Pd", "Po", "Pc", "So"))
_ALSO_BORDERS = frozenset("<>|~")
_NO_BORDERS = frozenset("/\\%@#&")


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of the same mark, and the characters around it ("" at the ends of the text)."""

    mark: str
    length: int
    second_before: str
    before: str
    after: str
    second_after: str

    @property
    def opens(self) -> bool:
        if is_blank(self.after) or category(self.after) in _CLOSING or self._inside_word:
            return False
        if is_blank(self.before):
            return not self._begins_file_name
        if self.after in STOPS:
            return False
        if self._needs_border:
            return self._follows_particle or (self.before not in ".)]}" and _is_border(self.before))
        return not (is_alphabetic(self.before) and category(self.after).startswith("P"))

    @property
    def closes(self) -> bool:
        if is_blank(self.before) or category(self.before) in _OPENING or self._inside_word:
            return False
        if is_blank(self.after):
            return True
        if self.after == "." and self.second_after.isalnum():
            return False
        if self._needs_border:
            ends_clause = self.before in STOPS and self.after.isalpha()
            return ends_clause or (self.after not in "([{" and _is_border(self.after))
        return True

    @property
    def is_mark(self) -> bool:
        if self.mark == "~":
            return self.length == len("~~")
        return self.length <= _MAX_RUN

    @property
    def follows_amount(self) -> bool:
        """Whether the run is a single star that may belong to the number before it."""
        return self.mark == "*" and self.length == 1 and bool(_AMOUNT_END.match(self.before))

    @property
    def halves_word(self) -> bool:
        """Whether the run may close within a word."""
        return self.mark == "*" and self.length == len("**") and self._inside_word

    @property
    def _inside_word(self) -> bool:
        return is_alphabetic(self.before) and is_alphabetic(self.after)

    @property
    def _needs_border(self) -> bool:
        return self.mark == "_" or (self.mark == "*" and self.length != len("**"))

    @property
    def _follows_particle(self) -> bool:
        """Whether a word of one letter precedes the run, as Arabic and Hebrew attach them."""
        return bool(_PARTICLE.match(self.before)) and is_blank(self.second_before)

    @property
    def _begins_file_name(self) -> bool:
        return self.mark == "*" and self.length == 1 and self.after == "."


def _is_border(character: str) -> bool:
    if character in _ALSO_BORDERS:
        return True
    return character not in _NO_BORDERS and category(character) in _BORDERS


def read_marks(state: StateInline, silent: bool) -> bool:
    """Read marks; replaces the parser's rules for emphasis and strikethrough."""
    if silent or state.src[state.pos] not in _MARKS:
        return False
    run = _run_at(state.src, state.pos, state.posMax)
    end = state.pos + run.length
    closes = run.closes or (run.halves_word and _is_last_closing(state.src, end, state.posMax))
    if run.follows_amount and not _is_star_open(state):
        closes = False
    if run.is_mark and (run.opens or closes):
        _push_delimiters(state, run, opens=run.opens, closes=closes)
    else:
        state.append_pending(run.mark * run.length)
    state.pos = end
    return True


def _run_at(text: str, start: int, limit: int) -> _Run:
    mark = text[start]
    end = start
    while end < limit and text[end] == mark:
        end += 1
    following = text[end : min(end + 2, limit)]
    preceding = text[max(0, start - 2) : start]
    return _Run(mark, end - start, preceding[:-1], preceding[-1:], following[:1], following[1:])


def _is_star_open(state: StateInline) -> bool:
    """Whether one of the last runs is a single star that opens and is not yet closed."""
    closed = 0
    for delimiter in reversed(state.delimiters[-_LOOK_BACK_DELIMITERS:]):
        if delimiter.marker != ord("*") or delimiter.length != 1:
            continue
        if delimiter.open and not closed:
            return True
        closed += -1 if delimiter.open else 1
    return False


def _is_last_closing(text: str, start: int, limit: int) -> bool:
    """Whether no later pair of stars closes before another one opens."""
    for number, stars in enumerate(_PAIRS_OF_STARS.finditer(text, start, limit)):
        run = _run_at(text, stars.start(), limit)
        if number == _LOOK_AHEAD_RUNS or run.closes:
            return False
        if run.opens:
            return True
    return True


def _push_delimiters(state: StateInline, run: _Run, *, opens: bool, closes: bool) -> None:
    """Pass the run on to the parser's rule that finds pairs."""
    delimiter_length = 2 if run.mark == "~" else 1
    for _ in range(run.length // delimiter_length):
        state.push("text", "", 0).content = run.mark * delimiter_length
        state.delimiters.append(
            Delimiter(
                marker=ord(run.mark),
                # Tildes have no "rule of three".
                length=0 if run.mark == "~" else run.length,
                token=len(state.tokens) - 1,
                end=-1,
                open=opens,
                close=closes,
            )
        )
