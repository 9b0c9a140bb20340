"""The common base of the renderers, which turn a syntax tree of Markdown into text."""

from __future__ import annotations

from collections.abc import Iterator

import regex
from markdown_it.tree import SyntaxTreeNode

from text.cleaning import clean
from text.html_tags import HtmlTags, arrange
from text.months import begins_with_month

_AMOUNT = regex.compile(r"[+−-]?(?:\p{Sc}|[A-Z]{2,3}(?= ?\p{Nd}))? ?[.,]?\p{Nd}")
_LISTS = ("bullet_list", "ordered_list")


class TreeRenderer:
    """A node of type ``x`` is rendered by the method ``_x``, which returns text."""

    shows_addresses = False
    line_break = "\n"

    def __init__(self) -> None:
        self._tags = HtmlTags()

    def render_document(self, root: SyntaxTreeNode) -> str:
        """The whole tree as text."""
        return self._blocks(root)

    def render_unparsed(self, text: str) -> str:
        """The text for Markdown that could not be parsed in time."""
        return text

    def _blocks(self, node: SyntaxTreeNode) -> str:
        """The node's children, with a blank line before each unless it is a list that has none."""
        parts = []
        last_line = None
        for child in node.children:
            text, lines = self._render(child), child.map or (0, 0)
            if text:
                touches = child.type in _LISTS and lines[0] == last_line
                parts += ["\n" if touches else "\n\n", text]
                last_line = lines[1] if child.type in (*_LISTS, "paragraph") else None
        return "".join(parts[1:])

    def _children(self, node: SyntaxTreeNode) -> str:
        return "".join(map(self._render, node.children))

    def _render(self, node: SyntaxTreeNode) -> str:
        method = getattr(self, f"_{node.type}", None)
        if method is not None:
            return str(method(node))
        return self._children(node) if node.children else self._text(node)

    def _inline(self, node: SyntaxTreeNode) -> str:
        return arrange(self._children(node), show_addresses=self.shows_addresses)

    def _text(self, node: SyntaxTreeNode) -> str:
        # Clean again, because entities such as ``&#x202e;`` have become characters.
        return clean(node.content)

    def _softbreak(self, _: SyntaxTreeNode) -> str:
        return self.line_break

    _hardbreak = _softbreak

    def _html_inline(self, node: SyntaxTreeNode) -> str:
        return self._tags.replace(node.content)

    def _bullet_list(self, node: SyntaxTreeNode) -> str:
        return "\n".join(self._item(self._bullet(item), item) for item in node.children)

    def _ordered_list(self, node: SyntaxTreeNode) -> str:
        items = zip(_numbers(node), node.children, strict=True)
        return "\n".join(self._item(f"{number}{item.markup} ", item) for number, item in items)

    def _bullet(self, item: SyntaxTreeNode) -> str:
        raise NotImplementedError

    def _item(self, mark: str, node: SyntaxTreeNode) -> str:
        """One item of a list; nested blocks follow on separate lines, not indented."""
        parts = [part for part in map(self._render, node.children) if part]
        if node.children and node.children[0].type == "fence":
            parts.insert(0, "")
        return mark + "\n".join(parts)


def starts_with_amount(item: SyntaxTreeNode) -> bool:
    """Whether the text of a list item begins with a number, maybe after a sign or currency."""
    return bool(_AMOUNT.match(source_text(item).lstrip("*_~ ")))


def source_text(node: SyntaxTreeNode) -> str:
    """The Markdown of the first text within a node; "" if there is none."""
    return next((each.content for each in node.walk() if each.type == "inline"), "")


def _numbers(ordered_list: SyntaxTreeNode) -> Iterator[str]:
    """The numbers of the items; if all are 1, the numbers that a browser would show.

    ``1. Mai`` is a date, whose number must not change.
    """
    numbers = [item.info for item in ordered_list.children]
    if len(numbers) < 2 or set(numbers) != {"1"}:
        return iter(numbers)
    if any(begins_with_month(source_text(item)) for item in ordered_list.children):
        return iter(numbers)
    return map(str, range(1, len(numbers) + 1))
