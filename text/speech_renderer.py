"""Renders a syntax tree of Markdown as sentences for speech."""

from __future__ import annotations

import regex
from markdown_it.tree import SyntaxTreeNode

from text.html_tags import tag_name
from text.inline_rules import BARE_ADDRESS
from text.speech_cleaning import GAP, remove_markdown_marks, remove_unspeakable, to_sentence
from text.tree_renderer import TreeRenderer, source_text, starts_with_amount

# Without a blank behind it, a minus is worded as one; a hyphen could be a bullet.
MINUS = "\N{MINUS SIGN}"
_NUMBER = regex.compile(r"\p{Nd}")
# Stands for a line break within a paragraph until its lines are compared. ``clean`` removes this
# character from the agent's text.
_LINE_BREAK = "\v"
# A line that continues the one before it: a word in lower case that is no label or mail address,
# maybe behind a bracket or quotation mark; or the rest of an equation.
_CONTINUATION = regex.compile(
    r"\s*+(?:[\p{Ps}\p{Pi}\"']*+\p{Ll}[\p{L}\p{M}\p{Nd}'’._-]*+(?!\s?[:：@])|=)"
)
_ENDS_WITH_AMOUNT = regex.compile(r"\p{Nd}\s?(?:\p{Sc}|[A-Z]{3}|%)?[*_~\s]{0,8}\Z")


class SpeechRenderer(TreeRenderer):
    """Leaves out addresses, images, code blocks and tables, which the text message shows."""

    line_break = _LINE_BREAK

    def render_unparsed(self, text: str) -> str:
        return _sentences(remove_unspeakable(remove_markdown_marks(text)))

    def _text(self, node: SyntaxTreeNode) -> str:
        return remove_unspeakable(super()._text(node))

    def _code_inline(self, node: SyntaxTreeNode) -> str:
        return self._text(node)

    def _paragraph(self, node: SyntaxTreeNode) -> str:
        return _sentences(self._children(node))

    _heading = _paragraph

    def _silence(self, _: SyntaxTreeNode) -> str:
        return ""

    _fence = _table = _image = _hr = _silence

    def _html_inline(self, node: SyntaxTreeNode) -> str:
        return "" if tag_name(node.content) == "img" else super()._html_inline(node)

    def _link(self, node: SyntaxTreeNode) -> str:
        if node.markup == "autolink" and not _is_web_link(node):
            return self._children(node).removeprefix("mailto:").removeprefix("tel:")
        return GAP if node.markup in (BARE_ADDRESS, "autolink") else self._children(node)

    def _blockquote(self, node: SyntaxTreeNode) -> str:
        words = self._blocks(node)
        return f"> {words}" if starts_with_amount(node) else words

    def _bullet(self, item: SyntaxTreeNode) -> str:
        if item.markup == "+":
            return "+ " if _is_added(item) else ""
        if item.markup != "-" or not starts_with_amount(item):
            return ""
        return MINUS if _is_beside_plus(item) else "- "


def _is_added(item: SyntaxTreeNode) -> bool:
    """Whether the bullet + is a sign: there is a number in its line, or before it."""
    before = item.parent.previous_sibling if item.parent else None
    follows_amount = before and _ENDS_WITH_AMOUNT.search(source_text(before))
    return bool(follows_amount or _NUMBER.search(source_text(item).split("\n", 1)[0]))


def _is_beside_plus(item: SyntaxTreeNode) -> bool:
    """Whether a list with the bullet + is next to the item's list, so that both are signs."""
    bullets = item.parent
    neighbours = (bullets.previous_sibling, bullets.next_sibling) if bullets else ()
    lists = [each for each in neighbours if each and each.type == "bullet_list"]
    return any(each.children[0].markup == "+" for each in lists)


def _sentences(text: str) -> str:
    lines = (line for part in text.split("\n") for line in _join_continuations(part))
    return "\n".join(filter(None, map(to_sentence, lines)))


def _join_continuations(text: str) -> list[str]:
    """The lines of a text with ``_LINE_BREAK``, each joined with those that continue it.

    Two lines read as one may merge their numbers. A line without words is no sentence, so it
    belongs to the line before it or, at the beginning, to the next one.
    """
    groups: list[list[str]] = [[]]
    is_continued = True
    for line in text.split(_LINE_BREAK):
        has_words = any(character.isalnum() for character in line)
        if has_words and not is_continued and not _CONTINUATION.match(line):
            groups.append([])
        groups[-1].append(line)
        is_continued = line.rstrip().endswith("=") or (is_continued and not has_words)
    return [" ".join(group) for group in groups]


def _is_web_link(node: SyntaxTreeNode) -> bool:
    return str(node.attrs.get("href", "")).lower().startswith(("http", "ftp"))
