"""Converts an agent's Markdown to WhatsApp messages and to text for speech."""

from __future__ import annotations

import re
from collections.abc import Iterator

from text.cleaning import clean, paragraphs
from text.direction import keep_numbers_in_order
from text.markdown_parser import MarkdownParser, ParseTimeout
from text.markdown_splitting import split_markdown
from text.speech_renderer import SpeechRenderer
from text.tree_renderer import TreeRenderer
from text.whatsapp_renderer import WhatsAppRenderer

__all__ = ["clean", "paragraphs", "to_speech", "to_whatsapp"]

# The parser takes quadratic time for some texts, so it gets parts of this length.
PART_CHARACTERS = 4096
# CPU seconds for one part. A part that takes longer is shown as it was written.
PARSE_SECONDS = 1.0

_PARSER = MarkdownParser()


def to_whatsapp(markdown: str) -> str:
    """Markdown in WhatsApp's own marks (docs/providers/twilio.md, "Text formatting").

    Headings become bold lines, links ``label (address)``, table rows bullets, images addresses.
    Words, numbers, signs and addresses stay as they were written, and in the order of the writing.
    """
    return keep_numbers_in_order(_tidy("\n\n".join(_render(markdown, WhatsAppRenderer))))


def to_speech(markdown: str) -> str:
    """Markdown as sentences to be read aloud: no marks, addresses, emoji, tables or programs."""
    return _tidy("\n\n".join(_render(markdown, SpeechRenderer))).replace("\n\n", "\n")


def _render(markdown: str, renderer: type[TreeRenderer]) -> Iterator[str]:
    for part in split_markdown(clean(markdown), PART_CHARACTERS):
        try:
            yield renderer().render_document(_PARSER.tree(part, seconds=PARSE_SECONDS))
        except ParseTimeout:
            yield renderer().render_unparsed(part)


def _tidy(text: str) -> str:
    lines = (line.rstrip() for line in clean(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
