"""Splits text into WhatsApp messages, and into sentences and segments for speech."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import regex

from text.addresses import find_addresses
from text.characters import SENTENCE_STOPS, UNSPACED_SENTENCE_STOPS
from text.code_fences import open_fence
from text.sentence_ends import ends_sentence

# Twilio refuses more; characters outside the BMP count twice there
# (docs/providers/twilio.md, "Text and media").
MESSAGE_LIMIT = 1600

# No part is shorter than this share of the limit, if there is a choice.
_MIN_SHARE = 1 / 3

# Links and marked texts are searched this many characters beyond the limit, in case they begin
# before it.
_LOOK_AHEAD = 500

# In a shorter part the code fences would take most of the space.
_MIN_FENCED_PART_CHARACTERS = 40

# Each pattern matches up to a place where a part may begin. Repetitions are possessive, and no two
# matches begin within the same run, so that the time is linear. Chinese and Japanese have no blank
# after a stop.
_CLOSERS = r"[\"'”’»)*_~」』）】》〉］]*+"
_PARAGRAPHS = regex.compile(r"(?P<gap>\n{2,})")
_LINES = regex.compile(r"(?P<gap>\n)")
_SENTENCES = regex.compile(
    rf"[{SENTENCE_STOPS}]{_CLOSERS}(?P<gap>\s++)"
    rf"|[{UNSPACED_SENTENCE_STOPS}]++{_CLOSERS}(?![{UNSPACED_SENTENCE_STOPS}])(?P<gap>\s*+)"
)
_CLAUSES = regex.compile(
    rf"[,;:،؛]{_CLOSERS}(?P<gap>\s++)|[、，；：､]{_CLOSERS}(?P<gap>\s*+)"
    r"|(?<!\s)(?P<gap>\s++)(?=[–—(])"
)
_WORDS = regex.compile(r"(?P<gap>\s+)")
_BORDERS = (_PARAGRAPHS, _LINES, _SENTENCES, _CLAUSES, _WORDS)
_GRAPHEMES = regex.compile(r"\X")
# Scripts without blanks between words may be cut between any two characters, but not before a
# closing bracket or a stop, nor after an opening bracket or a digit, which what it counts follows.
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆。、，]"
)
_NEVER_FIRST = frozenset("。、，；：！？」』）】》〉］ー")
_NEVER_LAST = frozenset("「『（【《〈［")

# Blanks between groups of digits, between a number and what it counts, between a currency and a
# number, and between groups of an IBAN. The next word is often a unit or a currency; any word
# counts, because it may be incomplete while the agent is writing. The time is linear, because only
# the few characters beside the blanks are compared.
_BLANKS = r"[ \u00a0\u2009\u202f]++"
_WITHIN_NUMBER = regex.compile(
    rf"(?<=\p{{Nd}}\)?){_BLANKS}(?=\(?\p{{Nd}}|[\p{{L}}\p{{Sc}}%])"
    rf"|(?<=\p{{Sc}}|\b[A-Z]{{3}}|\bR[ps]|\bkr){_BLANKS}(?=\p{{Nd}})"
    rf"|(?<=\b[A-Z\d]{{4}}){_BLANKS}(?=[A-Z\d]{{0,3}}\d)"
)

_MARKED_TEXT = regex.compile(
    r"```.*?```|`[^`\n]+`"
    + "".join(
        rf"|(?<!\w)[{mark}](?=\S)[^\n{mark}]{{1,400}}+(?<=\S)[{mark}](?!\w)" for mark in "*_~"
    ),
    regex.DOTALL,
)


def split_message(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Split into parts of up to ``limit`` UTF-16 units.

    Cuts are between paragraphs or, failing that, between lines, sentences, clauses or words. They
    are never inside a link or a grapheme, and inside marked text or a number, or between a number
    and the next word, only if there is no other place. A code fence that is cut is closed, and
    opened again in the next part. Parts are stripped; blank text has none.
    """
    return _split(text, limit, keep_fences=limit >= _MIN_FENCED_PART_CHARACTERS)


def split_sentences(text: str, max_characters: int) -> list[str]:
    """The sentences of a text for speech; those longer than ``max_characters`` are split.

    The end of a line ends a sentence too.
    """
    lines = (line for line in text.split("\n") if line.strip())
    sentences = (sentence for line in lines for sentence in _sentences(line.strip()))
    return [
        part
        for sentence in sentences
        for part in _split(sentence, max_characters, keep_fences=False)
    ]


def group_sentences(sentences: Sequence[str], size: int) -> list[list[str]]:
    """Group sentences, each group with up to ``size`` characters or a single sentence."""
    groups: list[list[str]] = []
    length = 0
    for sentence in sentences:
        length += 1 + len(sentence)
        if groups and length <= size:
            groups[-1].append(sentence)
        else:
            groups.append([sentence])
            length = len(sentence)
    return groups


def first_sentences(text: str, limit: int) -> str:
    """The whole text if it fits into ``limit`` characters, otherwise the sentences that fit."""
    fitting = _count_fitting(text, limit)
    return text if fitting == len(text) else text[: _find_cut(text, fitting)].rstrip()


def _split(text: str, limit: int, *, keep_fences: bool) -> list[str]:
    parts = []
    rest = text.strip()
    while _count_fitting(rest, limit) < len(rest):
        part, rest = _first_part(rest, limit, keep_fences=keep_fences)
        parts.append(part)
    return [part for part in (*parts, rest) if part]


def _first_part(text: str, limit: int, *, keep_fences: bool) -> tuple[str, str]:
    """The first part of a text that exceeds ``limit``, and the rest."""
    end = _find_cut(text, _count_fitting(text, limit))
    fence = open_fence(text[:end]) if keep_fences else ""
    if fence:
        # The part needs space for the fence that closes it.
        end = _find_cut(text, _count_fitting(text, limit - len(f"\n{fence}")))
        fence = open_fence(text[:end])
    if fence:
        return _cut_program(text[:end].rstrip(), text[end:].lstrip("\n"), fence)
    return text[:end].rstrip(), text[end:].lstrip()


def _cut_program(part: str, rest: str, fence: str) -> tuple[str, str]:
    """A part and the rest of a text that is cut within a code fence, each with whole fences."""
    before, _, last_line = part.rpartition("\n")
    if before and last_line.startswith(fence):
        # The code would have no line in this part, so it moves to the next one as a whole.
        return before.rstrip(), f"{last_line}\n{rest}"
    first_line, _, next_lines = rest.partition("\n")
    if first_line.strip() == fence:
        return f"{part}\n{fence}", next_lines.lstrip()
    return f"{part}\n{fence}", f"{fence}\n{rest}"


def _sentences(line: str) -> Iterator[str]:
    begun = 0
    for border in _find_borders(_SENTENCES, line, len(line)):
        yield line[begun : border.start("gap")]
        begun = border.end()
    yield line[begun:]


def _find_borders(border: regex.Pattern[str], text: str, limit: int) -> Iterator[regex.Match[str]]:
    """The matches of one of ``_BORDERS``, except for full stops that do not end a sentence."""
    for found in border.finditer(text, 0, limit):
        is_full_stop = border is _SENTENCES and found[0][0] == "."
        if not is_full_stop or ends_sentence(text, found.start(), found.end()):
            yield found


def _count_fitting(text: str, limit: int) -> int:
    """The number of characters that fit into ``limit`` UTF-16 units, as Twilio counts them."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if character > "\uffff" else 1
        if used > limit:
            return index
    return len(text)


def _find_cut(text: str, max_characters: int) -> int:
    """The best end of a part that may be ``max_characters`` long."""
    min_characters = int(max_characters * _MIN_SHARE)
    # Only links and marked texts that begin before the limit matter.
    reach = max_characters + _LOOK_AHEAD
    links = _mark_inside(find_addresses(text[:reach]), bytearray(reach))
    links_and_numbers = bytearray(links)
    for blanks in _WITHIN_NUMBER.finditer(text, 0, reach):
        links_and_numbers[blanks.start()] = 1
    marked = (match.span() for match in _MARKED_TEXT.finditer(text, 0, reach))
    everything = _mark_inside(marked, bytearray(links_and_numbers))
    for protected in (everything, links_and_numbers, links):
        for border in _BORDERS:
            borders = _find_borders(border, text, max_characters + 1)
            gaps = (found.start("gap") for found in borders)
            cut = _find_last(gaps, protected, min_characters, max_characters)
            if cut:
                return cut
    anywhere = bytearray(reach)
    return (
        _find_last(
            _find_unspaced_borders(text, max_characters + 1), links, min_characters, max_characters
        )
        or _find_last(_find_grapheme_borders(text, reach), anywhere, 1, max_characters)
        or max_characters
    )


def _find_grapheme_borders(text: str, limit: int) -> Iterator[int]:
    return (grapheme.end() for grapheme in _GRAPHEMES.finditer(text, 0, limit))


def _find_unspaced_borders(text: str, limit: int) -> Iterator[int]:
    """Borders between two characters, at least one of a script without blanks between words."""
    for grapheme in _GRAPHEMES.finditer(text, 0, limit):
        first, following = grapheme[0][0], text[grapheme.end() : grapheme.end() + 1]
        unspaced = _UNSPACED.match(first) or _UNSPACED.match(following)
        is_inside = first in _NEVER_LAST or first.isdecimal() or following in _NEVER_FIRST
        if unspaced and not is_inside:
            yield grapheme.end()


def _find_last(
    borders: Iterable[int], protected: bytearray, min_characters: int, max_characters: int
) -> int:
    """The last border within the limits that is not protected; 0 if there is none."""
    found = 0
    for position in borders:
        if position > max_characters:
            break
        if position >= min_characters and not protected[position]:
            found = position
    return found


def _mark_inside(spans: Iterable[tuple[int, int]], inside: bytearray) -> bytearray:
    """Set ``inside`` to 1 at each position within a span, excluding its ends, and return it."""
    for start, end in spans:
        inside[start + 1 : end] = b"\1" * (end - start - 1)
    return inside
