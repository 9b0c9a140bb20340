"""Cutting text: into messages WhatsApp takes, and into pieces to be spoken side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import regex

# Twilio refuses more; characters outside the BMP count twice there
# (docs/providers/twilio.md, "Text and media").
MESSAGE_LIMIT = 1600

# A cut this early would leave a part too short to be worth a message of its own.
_SHORTEST_SHARE = 1 / 3

_LOOK_AHEAD = 500

# Each ends where a part may begin. They run in linear time: whatever repeats is taken whole, and
# no two of them begin within the same run.
_PARAGRAPHS = regex.compile(r"(?P<gap>\n{2,})")
_LINES = regex.compile(r"(?P<gap>\n)")
_SENTENCES = regex.compile(r"[.!?…؟。！？][\"'”»)*_~]*+(?P<gap>\s++)")
_CLAUSES = regex.compile(r"[,;:،؛、，；：][\"'”»)*_~]*+(?P<gap>\s++)|(?<!\s)(?P<gap>\s++)(?=[–—(])")
_WORDS = regex.compile(r"(?P<gap>\s+)")
_GRAPHEMES = regex.compile(r"\X(?P<gap>)")
_BORDERS = (_PARAGRAPHS, _LINES, _SENTENCES, _CLAUSES, _WORDS)

_LINKS = regex.compile(
    r"\(?\b[a-z][a-z0-9+.-]{0,20}://\S+|\b(?:www\.|mailto:)\S+", regex.IGNORECASE
)
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
    marked text. Parts are stripped; text that is blank has none.
    """
    parts = []
    rest = text.strip()
    while (fitting := _fitting(rest, limit)) < len(rest):
        end = _cut(rest, fitting)
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [part for part in (*parts, rest) if part]


def split_sentences(text: str, longest: int) -> list[str]:
    """The sentences of a text to be spoken, cut where they exceed ``longest`` characters.

    A line end ends a sentence too.
    """
    lines = (line for line in text.split("\n") if line.strip())
    sentences = (sentence for line in lines for sentence in _sentences(line.strip()))
    return [part for sentence in sentences for part in split_message(sentence, longest)]


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
    links = _inside(_LINKS.finditer(text, 0, reach), reach)
    links_and_marks = _inside(_MARKED.finditer(text, 0, reach), reach, links)
    for protected in (links_and_marks, links):
        for border in _BORDERS:
            cut = _last(border.finditer(text, 0, longest + 1), protected, shortest, longest)
            if cut:
                return cut
    anywhere = bytearray(reach)
    return _last(_GRAPHEMES.finditer(text, 0, reach), anywhere, 1, longest) or longest


def _last(
    borders: Iterable[regex.Match[str]], protected: bytearray, shortest: int, longest: int
) -> int:
    """The last border within the limits that is not protected; 0 if there is none."""
    found = 0
    for border in borders:
        position = border.start("gap")
        if position > longest:
            break
        if position >= shortest and not protected[position]:
            found = position
    return found


def _inside(
    matches: Iterable[regex.Match[str]], reach: int, others: bytearray | None = None
) -> bytearray:
    """1 for each position within a match, or within ``others``; neither end is within."""
    inside = bytearray(others or reach)
    for match in matches:
        start, end = match.span()
        inside[start + 1 : end] = b"\1" * (end - start - 1)
    return inside
