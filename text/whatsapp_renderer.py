"""Renders a syntax tree of Markdown as a message for WhatsApp."""

from __future__ import annotations

import re
from itertools import zip_longest

from markdown_it.tree import SyntaxTreeNode

from text.addresses import UNSAFE_SCHEMES
from text.inline_rules import BARE_ADDRESS
from text.tree_renderer import TreeRenderer
from text.whatsapp_marks import BOLD, ITALIC, STRIKE, mark_text, without_marks, write_marks

_FENCE = "```"
# After the opening fence there may be the name of a language, such as ``python3``, with attributes.
# Anything else with a blank or a digit is text.
_WORDS_OF_CODE = re.compile(r"\S\s+\S|\d")
_LANGUAGE = re.compile(r"\s*[A-Za-z+#-]+\d?\s*(?:$|\{|[a-z]+=)")
_EMPTY_CELL = "–"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


class WhatsAppRenderer(TreeRenderer):
    """Headings become bold lines, links ``label (address)``, table rows bullets."""

    shows_addresses = True

    def render_document(self, root: SyntaxTreeNode) -> str:
        return write_marks(self._blocks(root))

    def _strong(self, node: SyntaxTreeNode) -> str:
        return mark_text(BOLD, self._children(node))

    def _em(self, node: SyntaxTreeNode) -> str:
        return mark_text(ITALIC, self._children(node))

    def _s(self, node: SyntaxTreeNode) -> str:
        return mark_text(STRIKE, self._children(node))

    def _heading(self, node: SyntaxTreeNode) -> str:
        return mark_text(BOLD, self._children(node))

    def _code_inline(self, node: SyntaxTreeNode) -> str:
        content = self._text(node)
        return content if "`" in content else f"`{content}`"

    def _fence(self, node: SyntaxTreeNode) -> str:
        content = self._text(node).rstrip()
        if _WORDS_OF_CODE.search(node.info) and not _LANGUAGE.match(node.info):
            content = f"{node.info.strip()}\n{content}".rstrip()
        return content if _FENCE in content else f"{_FENCE}\n{content}\n{_FENCE}"

    def _hr(self, _: SyntaxTreeNode) -> str:
        return ""

    def _link(self, node: SyntaxTreeNode) -> str:
        label = self._children(node).strip()
        if node.markup in (BARE_ADDRESS, "autolink"):
            return label
        return _with_address(label, str(node.attrs.get("href", "")))

    def _image(self, node: SyntaxTreeNode) -> str:
        return _with_address(self._text(node).strip(), str(node.attrs.get("src", "")))

    def _blockquote(self, node: SyntaxTreeNode) -> str:
        return "\n".join(f"> {line}" if line else ">" for line in self._blocks(node).split("\n"))

    def _bullet(self, item: SyntaxTreeNode) -> str:
        return "+ " if item.markup == "+" else "- "

    def _table(self, node: SyntaxTreeNode) -> str:
        titles, *rows = [row.children for part in node.children for row in part.children]
        shown = [self._row(titles, row) for row in rows]
        if not rows:
            shown = [f"- {', '.join(filter(None, map(self._cell, titles)))}"]
        return "\n".join(filter(None, shown))

    def _row(self, titles: list[SyntaxTreeNode], row: list[SyntaxTreeNode]) -> str:
        parts = []
        for title, cell in zip_longest(titles, row):
            name = without_marks(self._cell(title)) if title else ""
            value = self._cell(cell)
            if name:
                name = name if name.endswith((":", "：")) else f"{name}:"
                parts.append(f"{mark_text(BOLD, name)} {value or _EMPTY_CELL}")
            elif value:
                parts.append(value)
        return f"- {', '.join(parts)}" if parts else ""

    def _cell(self, node: SyntaxTreeNode) -> str:
        return " ".join(self._children(node).split())


def _with_address(label: str, address: str) -> str:
    scheme = _SCHEME.match(address)
    if scheme and scheme[1].lower() in UNSAFE_SCHEMES:
        return label
    words = without_marks(label)
    if not address or words in (address, address.removeprefix("mailto:")):
        return label
    return f"{label} ({address})" if label else address
