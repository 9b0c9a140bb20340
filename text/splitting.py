"""Cutting text: into messages WhatsApp takes, and into pieces to be spoken side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import regex

from text.addresses import find_addresses
from text.code_fences import open_fence

# Twilio refuses more; characters outside the BMP count twice there
# (docs/providers/twilio.md, "Text and media").
MESSAGE_LIMIT = 1600

# A cut this early would leave a part too short to be worth a message of its own.
_SHORTEST_SHARE = 1 / 3

# Characters behind the limit in which a link or a marked text is looked for that begins before it.
_LOOK_AHEAD = 500

# In a shorter part a code fence would take most of the place.
_SHORTEST_FENCED_PART = 40

# Each ends where a part may begin. They run in linear time: whatever repeats is taken whole, and
# no two of them begin within the same run. Chinese and Japanese have no blank behind a stop.
_CLOSERS = r"[\"'”’»)*_~」』）】》〉］]*+"
_PARAGRAPHS = regex.compile(r"(?P<gap>\n{2,})")
_LINES = regex.compile(r"(?P<gap>\n)")
_SENTENCES = regex.compile(
    rf"[.!?…؟۔।॥։።។]{_CLOSERS}(?P<gap>\s++)|[。！？｡]++{_CLOSERS}(?![。！？｡])(?P<gap>\s*+)"
)
_CLAUSES = regex.compile(
    rf"[,;:،؛]{_CLOSERS}(?P<gap>\s++)|[、，；：､]{_CLOSERS}(?P<gap>\s*+)"
    r"|(?<!\s)(?P<gap>\s++)(?=[–—(])"
)
_WORDS = regex.compile(r"(?P<gap>\s+)")
_BORDERS = (_PARAGRAPHS, _LINES, _SENTENCES, _CLAUSES, _WORDS)
_GRAPHEMES = regex.compile(r"\X")
# Scripts without blanks between words may be parted between any two characters, but not before what
# closes, nor behind what opens.
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆。、，]"
)
_NOT_FIRST = frozenset("。、，；：！？」』）】》〉］ー")
_NOT_LAST = frozenset("「『（【《〈［")

_MARKED = regex.compile(
    r"```.*?```|`[^`\n]+`"
    + "".join(
        rf"|(?<!\w)[{mark}](?=\S)[^\n{mark}]{{1,400}}+(?<=\S)[{mark}](?!\w)" for mark in "*_~"
    ),
    regex.DOTALL,
)


def split_message(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Cut into parts of ``limit`` at most, between paragraphs, or lines, sentences, clauses, words.

    No cut falls inside a link, a character as the reader sees it, or (where that is possible)
    marked text. A code fence that is cut is closed, and opened again in the next part. Parts are
    stripped; text that is blank has none.
    """
    return _split(text, limit, keep_fences=limit >= _SHORTEST_FENCED_PART)


def split_sentences(text: str, longest: int) -> list[str]:
    """The sentences of a text to be spoken, cut where they exceed ``longest`` characters.

    A line end ends a sentence too.
    """
    lines = (line for line in text.split("\n") if line.strip())
    sentences = (sentence for line in lines for sentence in _sentences(line.strip()))
    return [part for sentence in sentences for part in _split(sentence, longest, keep_fences=False)]


def group_sentences(sentences: Sequence[str], size: int) -> list[list[str]]:
    """Sentences in groups of ``size`` characters at most, or of one sentence."""
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
    """The sentences that fit ``limit`` characters; the whole text if it does."""
    fitting = _fitting(text, limit)
    return text if fitting == len(text) else text[: _cut(text, fitting)].rstrip()


def _split(text: str, limit: int, *, keep_fences: bool) -> list[str]:
    parts = []
    rest = text.strip()
    while _fitting(rest, limit) < len(rest):
        part, rest = _first_part(rest, limit, keep_fences=keep_fences)
        parts.append(part)
    return [part for part in (*parts, rest) if part]


def _first_part(text: str, limit: int, *, keep_fences: bool) -> tuple[str, str]:
    """The first part of a text that exceeds ``limit``, and the rest."""
    end = _cut(text, _fitting(text, limit))
    fence = open_fence(text[:end]) if keep_fences else ""
    if fence:
        # The part needs place for the fence that closes it.
        end = _cut(text, _fitting(text, limit - len(f"\n{fence}")))
        fence = open_fence(text[:end])
    if fence:
        return _cut_program(text[:end].rstrip(), text[end:].lstrip("\n"), fence)
    return text[:end].rstrip(), text[end:].lstrip()


def _cut_program(part: str, rest: str, fence: str) -> tuple[str, str]:
    """A part and the rest of a text that is cut within a code fence, each with whole fences."""
    before, _, last_line = part.rpartition("\n")
    if before and last_line.startswith(fence):
        # Nothing of the program would stand in this part.
        return before.rstrip(), f"{last_line}\n{rest}"
    first_line, _, behind = rest.partition("\n")
    if first_line.strip() == fence:
        return f"{part}\n{fence}", behind.lstrip()
    return f"{part}\n{fence}", f"{fence}\n{rest}"


def _sentences(line: str) -> Iterator[str]:
    begun = 0
    for border in _SENTENCES.finditer(line):
        yield line[begun : border.start("gap")]
        begun = border.end()
    yield line[begun:]


def _fitting(text: str, limit: int) -> int:
    """How many characters of ``text`` fit ``limit`` UTF-16 units, the most any service counts."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if character > "\uffff" else 1
        if used > limit:
            return index
    return len(text)


def _cut(text: str, longest: int) -> int:
    """Where to end a part that may be ``longest`` characters long."""
    shortest = int(longest * _SHORTEST_SHARE)
    # Links and pairs that reach over the limit matter; what lies further on doesn't.
    reach = longest + _LOOK_AHEAD
    links = _inside(find_addresses(text[:reach]), bytearray(reach))
    marked = (match.span() for match in _MARKED.finditer(text, 0, reach))
    links_and_marks = _inside(marked, bytearray(links))
    for protected in (links_and_marks, links):
        for border in _BORDERS:
            gaps = (found.start("gap") for found in border.finditer(text, 0, longest + 1))
            cut = _last(gaps, protected, shortest, longest)
            if cut:
                return cut
    anywhere = bytearray(reach)
    return (
        _last(_unspaced_borders(text, longest + 1), links, shortest, longest)
        or _last(_grapheme_borders(text, reach), anywhere, 1, longest)
        or longest
    )


def _grapheme_borders(text: str, limit: int) -> Iterator[int]:
    return (grapheme.end() for grapheme in _GRAPHEMES.finditer(text, 0, limit))


def _unspaced_borders(text: str, limit: int) -> Iterator[int]:
    """Borders of characters of which at least one is of a script without blanks between words."""
    for grapheme in _GRAPHEMES.finditer(text, 0, limit):
        first, following = grapheme[0][0], text[grapheme.end() : grapheme.end() + 1]
        unspaced = _UNSPACED.match(first) or _UNSPACED.match(following)
        if unspaced and first not in _NOT_LAST and following not in _NOT_FIRST:
            yield grapheme.end()


def _last(borders: Iterable[int], protected: bytearray, shortest: int, longest: int) -> int:
    """The last border within the limits that is not protected; 0 if there is none."""
    found = 0
    for position in borders:
        if position > longest:
            break
        if position >= shortest and not protected[position]:
            found = position
    return found


def _inside(spans: Iterable[tuple[int, int]], inside: bytearray) -> bytearray:
    """``inside`` with 1 for each position within a span; neither end is within."""
    for start, end in spans:
        inside[start + 1 : end] = b"\1" * (end - start - 1)
    return inside
