"""HTML tags in an agent's text: tells them from placeholders, and replaces them by text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

import nh3
import regex

from text.addresses import UNSAFE_SCHEMES

# Tag names that are not words, so that a tag of this name is never a placeholder.
_PLAIN_NAMES = frozenset(
    "blockquote body br dd div dl dt em h1 h2 h3 h4 h5 h6 hr html img li ol p pre span strong sub"
    " sup svg tbody td tfoot th thead tr ul wbr".split()
)
# The other tag names of HTML, and those of SVG drawings. ``<code>`` or ``<address>`` may also be
# placeholders for the reader to fill in: they count as tags if they have attributes or are closed.
_OTHER_NAMES = frozenset(
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo big button"
    " canvas caption center cite code col colgroup data datalist del details dfn dialog dir embed"
    " fieldset figcaption figure font footer form frame frameset head header hgroup i iframe input"
    " ins kbd label legend link main map mark math menu meta meter nav noframes noscript object"
    " optgroup option output param picture progress q rp rt ruby s samp script search section"
    " select slot small source strike style summary table template textarea time title track tt u"
    " var video animate circle clippath defs desc ellipse filter foreignobject g image line"
    " lineargradient marker mask metadata path pattern polygon polyline radialgradient rect stop"
    " switch symbol text textpath tspan use view".split()
)
# Attributes that have no value.
_FLAGS = frozenset(
    "async autofocus autoplay checked controls default defer disabled hidden ismap itemscope loop"
    " multiple muted nomodule novalidate open playsinline readonly required reversed selected"
    " nowrap noshade".split()
)
# Elements of which a browser shows nothing.
HIDDEN = frozenset("head script style template".split())
# Elements whose content is shown as it is.
VERBATIM = frozenset("code kbd pre samp tt".split())
_BLOCK_NAMES = frozenset(
    "address article aside blockquote br center dd details dialog div dl dt fieldset figcaption"
    " figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main menu nav ol optgroup option p"
    " pre search section summary table tr ul".split()
)

_NAME = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
_ATTRIBUTE = re.compile(r"\s([a-zA-Z_:][\w:.-]*)(\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+))?")
_CLOSED = re.compile(r"</([a-z][a-z0-9]*)\s*>", re.IGNORECASE)

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}(?=:)", re.IGNORECASE)
_SANITIZED_ATTRIBUTE = re.compile(r' (href|alt|src)="([^"]*)"')
_TEXT_SANITIZER = nh3.Cleaner(tags=set(), clean_content_tags={"script", "style"})

# Control characters, which ``clean`` removes from the agent's text. They mark the border of a
# separate line, both ends of an address that follows its label, the ends of superscripts and
# subscripts, and the end of struck text.
LINE_BORDER = "\x1e"
_ADDRESS = "\x1d"
_RAISED, _RAISED_END = "\x1f", "\x01"
_LOWERED, _LOWERED_END = "\x04", "\x05"
_STRUCK_END = "\x06"
_SCRIPT_BORDERS = re.compile(f"[{_RAISED}{_RAISED_END}{_LOWERED}{_LOWERED_END}{_STRUCK_END}]")
_SCRIPTS = {"sup": (_RAISED, _RAISED_END), "sub": (_LOWERED, _LOWERED_END)}
_STRUCK_NAMES = frozenset(("s", "del", "strike"))
_LINES = re.compile(rf"[ \t\n]*{LINE_BORDER}[ \t\n{LINE_BORDER}]*")
# Without a sign a power would look like one more digit. ``1<sup>st</sup>`` is not a power.
# Letters that end ordinal numbers, as in ``1<sup>e</sup>``, are not powers either.
_POWER = re.compile(rf"{_RAISED}(?=[\d+−-]|(?<=[\w)]{_RAISED})[ijkmnpqxyz]\b)")
_FRACTION = re.compile(rf"(\d?){_RAISED}(\d+){_RAISED_END}\s?[/⁄]\s?{_LOWERED}(\d+){_LOWERED_END}")
# The cents of a price are often raised.
_CENTS_BEFORE_CURRENCY = regex.compile(rf"(?<=\d){_RAISED}(?=\d\d{_RAISED_END}\s?\p{{Sc}})")
_CENTS_AFTER_CURRENCY = regex.compile(
    rf"(\p{{Sc}}\s?\d[\d.,]{{0,12}}){_RAISED}(?=\d\d{_RAISED_END}(?!\d))"
)
# Without a sign the base of a logarithm or a number would run into the digits beside it.
_BASE = re.compile(rf"{_LOWERED}(\d+){_LOWERED_END}(?=\d)")
_BASE_OF_NUMBER = re.compile(rf"(?<=\d){_LOWERED}(?=\d)")
_STRUCK_BORDER = regex.compile(rf"(?<=\S){_STRUCK_END}(?=[\w\p{{Sc}}])")
_FIRST_NUMBER = re.compile(r"\s(?:start|value)\s*=\s*[\"']?(\d{1,9})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tag:
    """An opening or closing tag; ``name`` is in lower case."""

    name: str
    source: str
    closing: bool

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes ``href``, ``src`` and ``alt``, as far as the tag has them."""
        found = _SANITIZED_ATTRIBUTE.findall(_sanitize(self.source))
        return {name: unescape(value) for name, value in found}

    def number(self, default: int) -> int:
        """The number at which a list starts, or of an item, if the tag has one."""
        found = _FIRST_NUMBER.search(self.source)
        return int(found[1]) if found else default


def _sanitize(tag: str) -> str:
    """The tag with its name in lower case, quoted values, and no unsafe address."""
    schemes = {scheme.lower() for scheme in _SCHEME.findall(tag)}
    return nh3.clean(
        tag,
        tags={"a", "img"},
        attributes={"a": {"href"}, "img": {"alt", "src"}},
        url_schemes=schemes - UNSAFE_SCHEMES,
        link_rel=None,
    )


def tag_name(text: str, start: int = 0) -> str:
    """The name of the tag that may begin at ``start``; "" if HTML has no tag of that name."""
    beginning = _NAME.match(text, start)
    name = beginning[2].lower() if beginning else ""
    return name if name in _PLAIN_NAMES or name in _OTHER_NAMES else ""


def closed_names(text: str) -> frozenset[str]:
    """The names of all elements that are closed in ``text``."""
    return frozenset(name.lower() for name in _CLOSED.findall(text))


def is_markup(source: str, closed: frozenset[str]) -> bool:
    """Whether a tag of a known name is HTML, rather than a placeholder or a comparison.

    ``closed`` has the names of all elements that are closed in the same text.
    """
    name = tag_name(source)
    if source.startswith("</"):
        return True
    attributes = _ATTRIBUTE.findall(source)
    if any(not value and flag.lower() not in _FLAGS for flag, value in attributes):
        return False
    return bool(attributes) or name in _PLAIN_NAMES or name in closed or source.endswith("/>")


def text_of(html: str) -> str:
    """The text of an HTML fragment, without its tags."""
    return unescape(_TEXT_SANITIZER.clean(html))


@dataclass
class HtmlTags:
    """Replaces tags one after the other. ``arrange`` then finishes the text."""

    _addresses: list[str] = field(default_factory=list)
    # For each open list, the number of its last item, or ``None`` if the list has bullets.
    _numbers: list[int | None] = field(default_factory=list)

    def replace(self, source: str) -> str:
        """The replacement of a tag, a comment or a declaration."""
        name = tag_name(source)
        if not name:
            return ""
        tag = Tag(name, source, source.startswith("</"))
        border = LINE_BORDER if name in _BLOCK_NAMES else ""
        return border + self._content(tag)

    def _content(self, tag: Tag) -> str:
        if tag.name == "a":
            return self._link(tag)
        if tag.name in ("ol", "ul"):
            self._switch_list(tag)
        if tag.name in _SCRIPTS:
            return _SCRIPTS[tag.name][tag.closing]
        if tag.closing:
            return _STRUCK_END if tag.name in _STRUCK_NAMES else ""
        if tag.name == "img":
            return self._image(tag)
        if tag.name in ("td", "th"):
            return " "
        if tag.name == "li":
            return self._number(tag)
        return ""

    def _link(self, tag: Tag) -> str:
        if not tag.closing:
            self._addresses.append(tag.attributes.get("href", ""))
            return ""
        address = self._addresses.pop() if self._addresses else ""
        return f"{_ADDRESS}{address}{_ADDRESS}" if address else ""

    def _image(self, tag: Tag) -> str:
        attributes = tag.attributes
        label, address = attributes.get("alt", ""), attributes.get("src", "")
        return label + (f"{_ADDRESS}{address}{_ADDRESS}" if address else "")

    def _switch_list(self, tag: Tag) -> None:
        if not tag.closing:
            self._numbers.append(tag.number(1) - 1 if tag.name == "ol" else None)
        elif self._numbers:
            self._numbers.pop()

    def _number(self, item: Tag) -> str:
        if not self._numbers or self._numbers[-1] is None:
            return ""
        self._numbers[-1] = item.number(self._numbers[-1] + 1)
        return f"{self._numbers[-1]}. "


def arrange(text: str, *, show_addresses: bool) -> str:
    """Finish a text in which tags were replaced: separate lines, and put addresses after labels."""
    text = _write_scripts(_LINES.sub("\n", text))
    label, *rest = text.split(_ADDRESS)
    parts = [label]
    for address, following in zip(rest[::2], rest[1::2], strict=False):
        before = parts[-1].rstrip()
        if show_addresses and not before.endswith(address):
            parts.append(f" ({address})" if before else address)
        parts.append(following)
    return "".join(parts)


def _write_scripts(text: str) -> str:
    """The text with a sign for each power, fraction or base that would look like another number."""
    if not _SCRIPT_BORDERS.search(text):
        return text
    text = _FRACTION.sub(_write_fraction, text)
    text = _CENTS_AFTER_CURRENCY.sub(r"\1.", _CENTS_BEFORE_CURRENCY.sub(",", text))
    text = _BASE_OF_NUMBER.sub("_", _BASE.sub(r"_\1 ", _POWER.sub("^", text)))
    return _SCRIPT_BORDERS.sub("", _STRUCK_BORDER.sub(" ", text))


def _write_fraction(found: re.Match[str]) -> str:
    whole, numerator, denominator = found.groups()
    return f"{whole} {numerator}/{denominator}" if whole else f"{numerator}/{denominator}"
