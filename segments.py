"""Cutting text: into messages WhatsApp takes, and into pieces to be spoken side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import regex

# Twilio refuses more (contracts/twilio.md §5.3); characters outside the BMP count twice there.
MESSAGE_LIMIT = 1600

# A cut this early would leave a part too short to be worth a message of its own.
_SHORTEST_SHARE = 1 / 3

_LOOK_AHEAD = 500

_PARAGRAPHS = regex.compile(r"\n{2,}")
_LINES = regex.compile(r"\n")
_SENTENCES = regex.compile(r"(?<=[.!?…؟。！？][\"'”»)*_~]*)\s+")
_CLAUSES = regex.compile(r"(?<=[,;:،؛、，；：][\"'”»)*_~]*)\s+|\s+(?=[–—(])")
_WORDS = regex.compile(r"\s+")
_GRAPHEMES = regex.compile(r"\X")
_BORDERS = (_PARAGRAPHS, _LINES, _SENTENCES, _CLAUSES, _WORDS)

_LINKS = regex.compile(r"\(?\b[a-z][a-z0-9+.-]*://\S+|\b(?:www\.|mailto:)\S+", regex.IGNORECASE)
_MARKED = regex.compile(
    r"```.*?```|`[^`\n]+`|(?<!\w)([*_~])(?=\S)[^\n]{1,400}?(?<=\S)\1(?!\w)",
    regex.DOTALL,
)


def split_message(text: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Cut into parts of ``limit`` at most, between paragraphs, or lines, sentences, clauses, words.

    No cut falls inside a link, a character as the reader sees it, or (where that is possible)
    marked text. Parts are stripped; text that is blank has none.
    """
    parts = []
    rest = text.strip()
    while _length(rest) > limit:
        end = _cut(rest, _fitting(rest, limit))
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [part for part in (*parts, rest) if part]


def split_sentences(text: str, longest: int) -> list[str]:
    """The sentences of a text to be spoken, cut where they exceed ``longest`` characters.

    A line end ends a sentence too.
    """
    lines = (line for line in text.split("\n") if line.strip())
    sentences = (sentence for line in lines for sentence in _SENTENCES.split(line.strip()))
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
    return text if _length(text) <= limit else split_message(text, limit)[0]


def _length(text: str) -> int:
    """UTF-16 units, the most any of the services counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fitting(text: str, limit: int) -> int:
    """How many characters of ``text`` fit ``limit``."""
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
    links = list(_spans(_LINKS.finditer(text, 0, reach)))
    marked = list(_spans(_MARKED.finditer(text, 0, reach)))
    for protected in (links + marked, links):
        for border in _BORDERS:
            cut = _last(border.finditer(text, 0, longest + 1), protected, shortest, longest)
            if cut:
                return cut
    return _last(_GRAPHEMES.finditer(text, 0, reach), [], 1, longest) or longest


def _last(
    borders: Iterable[regex.Match[str]],
    protected: list[tuple[int, int]],
    shortest: int,
    longest: int,
) -> int:
    """The last border within the limits that is not protected; 0 if there is none."""
    found = 0
    for border in borders:
        position = border.end() if border.re is _GRAPHEMES else border.start()
        if position > longest:
            break
        if position >= shortest and not any(start < position < end for start, end in protected):
            found = position
    return found


def _spans(matches: Iterable[regex.Match[str]]) -> Iterator[tuple[int, int]]:
    return (match.span() for match in matches)
