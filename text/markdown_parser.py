"""Parses Markdown as people and agents write it in chats, within a time limit."""

from __future__ import annotations

import re
import time

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType, StateBase
from markdown_it.tree import SyntaxTreeNode

from text.block_rules import (
    read_definition,
    read_hidden_html,
    read_quote,
    read_underlined_heading,
)
from text.emphasis import read_marks
from text.inline_rules import (
    parser_environment,
    read_address,
    read_autolink,
    read_file_path,
    read_html,
)
from text.table_rules import read_table

# How deep blocks may be nested. The parser drops text that is nested deeper.
_MAX_NESTING = 100
_ADDRESS = re.compile(r"$|[a-z][a-z0-9+.-]*:|www\.|[/#?.]|[^\s/]+[./]", re.IGNORECASE)
# A comment or a quote may follow a paragraph without a blank line.
_INTERRUPTS: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}


class ParseTimeout(Exception):
    """The parser needed more time than allowed."""


class MarkdownParser(MarkdownIt):
    """CommonMark with tables and strikethrough, and with the rules for chat."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"maxNesting": _MAX_NESTING})
        # In a chat an indented line is not code, and the words within blocks of HTML are Markdown.
        self.enable(["table", "strikethrough"]).disable(["code", "html_block"])
        self._add_block_rules()
        self._add_inline_rules()

    def _add_block_rules(self) -> None:
        rules = self.block.ruler
        rules.before("table", "watch", _check_time)
        rules.before("table", "hidden_html", read_hidden_html, _INTERRUPTS)
        rules.at("table", read_table, {"alt": ["paragraph", "reference"]})
        rules.at("blockquote", read_quote, _INTERRUPTS)
        rules.at("reference", read_definition)
        rules.at("lheading", read_underlined_heading)

    def _add_inline_rules(self) -> None:
        rules = self.inline.ruler
        rules.before("text", "watch", _check_time)
        rules.after("text", "address", read_address)
        rules.before("escape", "file_path", read_file_path)
        rules.at("emphasis", read_marks)
        rules.at("strikethrough", read_marks)
        rules.at("autolink", read_autolink)
        rules.at("html_inline", read_html)

    def validateLink(self, url: str) -> bool:
        """Whether ``url`` may be an address: ``[Name](required)`` is not a link.

        The renderers decide which addresses are shown.
        """
        return bool(_ADDRESS.match(url))

    def normalizeLink(self, url: str) -> str:
        """Encode blanks, where WhatsApp would end the link; otherwise do not change the address."""
        return re.sub(r"\s", "%20", url)

    def normalizeLinkText(self, link: str) -> str:
        """Do not decode addresses that are shown: a decoded one may lead elsewhere."""
        return link

    def tree(self, markdown: str, *, seconds: float) -> SyntaxTreeNode:
        """The syntax tree. Raises ``ParseTimeout`` after that many seconds of CPU."""
        environment = {"until": time.thread_time() + seconds, **parser_environment(markdown)}
        return SyntaxTreeNode(self.parse(markdown, environment))


def _check_time(state: StateBase, *_: object) -> bool:
    """A rule that matches nothing; raises ``ParseTimeout`` when the time is up."""
    if time.thread_time() > state.env["until"]:
        raise ParseTimeout
    return False
