"""An agent's Markdown, written for WhatsApp or worded for speech."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator

import regex
from markdown_it import MarkdownIt
from markdown_it.ruler import StateBase
from markdown_it.rules_inline import StateInline
from markdown_it.tree import SyntaxTreeNode

from text.splitting import split_message

# The parser takes quadratic time for some texts, so it gets them in pieces of this length.
PIECE_CHARACTERS = 4096
# Of CPU, for a piece that makes it slower than any known one; what takes longer stays unread.
PARSE_SECONDS = 1.0

# How a token says that an address stood there without marks of its own.
BARE = "address"

_SCHEME = re.compile(r"(?<![a-z0-9+.-])(?:https?|ftp)$", re.IGNORECASE)
_SCHEME_CHARACTERS = len("x") + len("https")
_REST_OF_ADDRESS = re.compile(r"://[^\s<>]+")
# What follows an address more often than it ends one.
_BEHIND_ADDRESS = frozenset(".,:;!?'\"*_~…؟،؛”’»")


class _TooSlow(Exception):
    """The parser needs more than ``PARSE_SECONDS``."""


class _Parser(MarkdownIt):
    """Markdown as people write it in chats, within bounds."""

    def __init__(self) -> None:
        super().__init__("commonmark")
        # An indented line of chat is no program.
        self.enable(["table", "strikethrough"]).disable("code")
        self.block.ruler.before("table", "watch", _watch)
        self.inline.ruler.before("text", "watch", _watch)
        self.inline.ruler.after("text", "address", _read_address)

    def normalizeLinkText(self, link: str) -> str:
        """Bare addresses stay as they were written: decoded ones lead elsewhere or nowhere."""
        return link

    def tree(self, markdown: str) -> SyntaxTreeNode:
        """Raises ``_TooSlow``."""
        return SyntaxTreeNode(self.parse(markdown, {"until": time.thread_time() + PARSE_SECONDS}))


def _watch(state: StateBase, *_: object) -> bool:
    """A rule of the parser that matches nothing: it looks at the time."""
    if time.thread_time() > state.env["until"]:
        raise _TooSlow
    return False


def _read_address(state: StateInline, silent: bool) -> bool:
    """A rule of the parser: marks in a bare address are part of it."""
    scheme = _SCHEME.search(state.pending[-_SCHEME_CHARACTERS:])
    rest = _REST_OF_ADDRESS.match(state.src, state.pos, state.posMax)
    length = _address_length(rest[0]) if scheme and rest else 0
    if not scheme or length <= len("://") or state.linkLevel:
        return False
    end = state.pos + length
    if not silent:
        state.pending = state.pending[: -len(scheme[0])]
        address = scheme[0] + state.src[state.pos : end]
        state.push("link_open", "a", 1).markup = BARE
        state.push("text", "", 0).content = address
        state.push("link_close", "a", -1).markup = BARE
    state.pos = end
    return True


def _address_length(text: str) -> int:
    """How much of a text that begins like an address is one; brackets in it come in pairs."""
    end = len(text)
    unopened = text.count(")") - text.count("(")
    while text[end - 1] in _BEHIND_ADDRESS or (text[end - 1] == ")" and unopened > 0):
        unopened -= text[end - 1] == ")"
        end -= 1
    return end


_PARSER = _Parser()

# Control characters, halves of characters, and directions that could make a text read as something
# else; joiners and plain marks are harmless.
_UNSEEN = regex.compile(
    r"[\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069\uFEFF\uFFFC--[\n\t]]+", regex.VERSION1
)
_TAG = re.compile(
    r"</?(?:a|b|blockquote|br|code|div|em|font|h[1-6]|hr|i|img|li|mark|ol|p|pre|s|small|span|strike"
    r"|strong|sub|sup|table|tbody|td|th|thead|tr|u|ul)\b[^<>]*>",
    re.IGNORECASE,
)
_HREF = re.compile(r"<a\s[^<>]*?\bhref\s*=\s*[\"']?([^\"'<>\s]+)", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
_LINE_BREAK = re.compile(
    r"<br\s*/?>|</(?:blockquote|div|h[1-6]|li|ol|p|pre|table|tr|ul)\s*>", re.IGNORECASE
)
_ADDRESS = re.compile(
    r"[\w+.-]{0,20}://\S*|\bwww\.\S*|(?<![\w.@-])[\w.-]{1,64}\.[a-z]{2,20}/\S*", re.IGNORECASE
)
_TIMES = re.compile(r"(?<=\d)\s*\*\s*(?=\d)")
# Emoji and what joins them. Unicode files some signs with them that are said.
_UNSAID = regex.compile(r"[\p{So}\p{Sk}\p{Me}\uFE0F\u200D--[°℃℉№]]+", regex.VERSION1)
_UNSPOKEN = re.compile(r"[*_~`<>#|\\{}\[\]]+")
_EMPTY_BRACKETS = re.compile(r"\(\s*\)")
_SENTENCE_END = (".", "!", "?", ":", ";", "…", "؟", "؛", "،", ",", "。")


def clean(text: str) -> str:
    """Text without control characters and direction overrides; line breaks stay, as LF."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def to_whatsapp(markdown: str) -> str:
    """Markdown in WhatsApp's own marks (docs/providers/twilio.md, "Text formatting").

    Headings become bold lines, links ``label (address)``, table rows bullets, images addresses.
    """
    return _tidy("\n\n".join(_rendered(markdown, _WhatsApp)))


def to_speech(markdown: str) -> str:
    """Markdown as sentences to be read aloud: no marks, addresses, emoji, tables or programs."""
    return _tidy("\n\n".join(_rendered(markdown, _Spoken))).replace("\n\n", "\n")


def _rendered(markdown: str, form: Callable[[], _WhatsApp]) -> Iterator[str]:
    for piece in split_message(clean(markdown), PIECE_CHARACTERS):
        try:
            yield form().block(_PARSER.tree(piece))
        except _TooSlow:
            yield form().plain(piece)


def _tidy(text: str) -> str:
    # Entities such as &#x202e; are characters by now.
    lines = (line.rstrip() for line in clean(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _WhatsApp:
    """Renders a syntax tree; every method takes a node and returns text."""

    def __init__(self) -> None:
        # Where the HTML link that is open leads.
        self._address = ""

    def plain(self, text: str) -> str:
        """Text whose marks nobody has read."""
        return text

    def block(self, node: SyntaxTreeNode) -> str:
        """The node's children as paragraphs."""
        return "\n\n".join(filter(None, map(self.render, node.children)))

    def inline(self, node: SyntaxTreeNode) -> str:
        return "".join(map(self.render, node.children))

    def render(self, node: SyntaxTreeNode) -> str:
        method = getattr(self, f"_{node.type}", None)
        if method is not None:
            return str(method(node))
        return self.inline(node) if node.children else node.content

    def _paragraph(self, node: SyntaxTreeNode) -> str:
        return self.inline(node)

    def _text(self, node: SyntaxTreeNode) -> str:
        return node.content

    def _softbreak(self, _: SyntaxTreeNode) -> str:
        return "\n"

    _hardbreak = _softbreak

    def _strong(self, node: SyntaxTreeNode) -> str:
        return _marked("*", self.inline(node))

    def _em(self, node: SyntaxTreeNode) -> str:
        inner = self.inline(node)
        return f"*{inner}*" if _is_product(node, inner) else _marked("_", inner)

    def _s(self, node: SyntaxTreeNode) -> str:
        return _marked("~", self.inline(node))

    def _heading(self, node: SyntaxTreeNode) -> str:
        return _marked("*", self.inline(node).replace("*", ""))

    def _code_inline(self, node: SyntaxTreeNode) -> str:
        return f"`{node.content}`"

    def _fence(self, node: SyntaxTreeNode) -> str:
        return f"```\n{node.content.rstrip()}\n```"

    def _hr(self, _: SyntaxTreeNode) -> str:
        return ""

    def _link(self, node: SyntaxTreeNode) -> str:
        label = self.inline(node).strip()
        if node.markup in (BARE, "autolink"):
            return label
        address = str(node.attrs.get("href", ""))
        if not address or label in (address, address.removeprefix("mailto:")):
            return label
        return f"{label} ({address})" if label else address

    def _image(self, node: SyntaxTreeNode) -> str:
        label, address = node.content.strip(), str(node.attrs.get("src", ""))
        return f"{label} ({address})" if label else address

    def _blockquote(self, node: SyntaxTreeNode) -> str:
        return "\n".join(f"> {line}" if line else ">" for line in self.block(node).split("\n"))

    def _bullet_list(self, node: SyntaxTreeNode) -> str:
        return "\n".join(self._item("-", item) for item in node.children)

    def _ordered_list(self, node: SyntaxTreeNode) -> str:
        start = int(node.attrs.get("start", 1))
        numbered = enumerate(node.children, start)
        return "\n".join(self._item(f"{number}.", item) for number, item in numbered)

    def _item(self, mark: str, node: SyntaxTreeNode) -> str:
        """One item; what is nested in it follows on lines of its own, not indented."""
        return f"{mark} " + "\n".join(filter(None, map(self.render, node.children)))

    def _table(self, node: SyntaxTreeNode) -> str:
        titles, rows = _cells(node)
        return "\n".join(self._row(titles, row) for row in rows)

    def _row(self, titles: list[SyntaxTreeNode], row: list[SyntaxTreeNode]) -> str:
        parts = []
        for title, cell in zip(titles, row, strict=False):
            heading, value = self.inline(title).replace("*", "").strip(), self.inline(cell).strip()
            if value:
                parts.append(f"{_marked('*', heading + ':')} {value}" if heading else value)
        return f"- {', '.join(parts)}" if parts else ""

    def _html_inline(self, node: SyntaxTreeNode) -> str:
        """HTML's own tags removed; ``<your name>`` and the like are words and stay."""
        return _TAG.sub(self._tag, _LINE_BREAK.sub("\n", _COMMENT.sub("", node.content)))

    _html_block = _html_inline

    def _tag(self, tag: re.Match[str]) -> str:
        """Nothing, but behind an HTML link its address."""
        if opened := _HREF.match(tag[0]):
            self._address = opened[1]
        if not self._address or not tag[0].lower().startswith("</a"):
            return ""
        address, self._address = self._address, ""
        return f" ({address})"


class _Spoken(_WhatsApp):
    """The same tree in words."""

    def plain(self, text: str) -> str:
        return "\n".join(filter(None, map(_sentence, _pronounceable(text).split("\n"))))

    def _text(self, node: SyntaxTreeNode) -> str:
        return _pronounceable(node.content)

    _code_inline = _text

    def _html_inline(self, node: SyntaxTreeNode) -> str:
        return _pronounceable(super()._html_inline(node))

    def _html_block(self, node: SyntaxTreeNode) -> str:
        return "\n".join(filter(None, map(_sentence, self._html_inline(node).split("\n"))))

    def _tag(self, tag: re.Match[str]) -> str:
        return ""

    def _softbreak(self, _: SyntaxTreeNode) -> str:
        return " "

    _hardbreak = _softbreak

    def _paragraph(self, node: SyntaxTreeNode) -> str:
        return _sentence(self.inline(node))

    _heading = _paragraph

    def _strong(self, node: SyntaxTreeNode) -> str:
        return self.inline(node)

    _s = _strong

    def _em(self, node: SyntaxTreeNode) -> str:
        inner = self.inline(node)
        return f" × {inner} × " if _is_product(node, inner) else inner

    def _fence(self, _: SyntaxTreeNode) -> str:
        return ""

    def _table(self, node: SyntaxTreeNode) -> str:
        return ""

    def _image(self, node: SyntaxTreeNode) -> str:
        return ""

    def _link(self, node: SyntaxTreeNode) -> str:
        label = self.inline(node)
        return "" if "://" in label or node.markup in (BARE, "autolink") else label

    def _blockquote(self, node: SyntaxTreeNode) -> str:
        return self.block(node)

    def _item(self, mark: str, node: SyntaxTreeNode) -> str:
        spoken = super()._item(mark, node)
        return spoken.removeprefix("- ")


def _marked(mark: str, text: str) -> str:
    """Marks must hug their text and end on its line."""
    return "\n".join(_hugged(mark, line) for line in text.split("\n"))


def _hugged(mark: str, line: str) -> str:
    inner = line.strip()
    if not inner:
        return line
    before, after = line.split(inner, 1)
    return f"{before}{mark}{inner}{mark}{after}"


def _cells(table: SyntaxTreeNode) -> tuple[list[SyntaxTreeNode], list[list[SyntaxTreeNode]]]:
    """A table's titles, and its rows of cells."""
    rows = [row.children for part in table.children for row in part.children]
    return rows[0], rows[1:]


def _is_product(emphasis: SyntaxTreeNode, inner: str) -> bool:
    """CommonMark takes the 3 of ``2*3*4`` for emphasis."""
    before = emphasis.previous_sibling
    return (
        emphasis.markup == "*"
        and inner[:1].isdigit()
        and before is not None
        and before.content[-1:].isdigit()
    )


def _pronounceable(text: str) -> str:
    """Text without addresses and emoji, and without signs that a voice would spell out."""
    said = _TIMES.sub(" × ", _ADDRESS.sub(" ", text))
    return _UNSPOKEN.sub(" ", _UNSAID.sub("", said))


def _sentence(text: str) -> str:
    """A line that ends like a sentence, so that the voice falls and pauses."""
    words = " ".join(_EMPTY_BRACKETS.sub("", text).split())
    if not any(character.isalnum() for character in words):
        return ""
    return words if words.endswith(_SENTENCE_END) else f"{words}."


def paragraphs(texts: Iterable[str]) -> str:
    """Several messages as one text, a blank line between them."""
    return "\n\n".join(text.strip() for text in texts if text.strip())
