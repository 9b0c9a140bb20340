"""Rules of the Markdown parser for elements within a line, where chat differs from documents."""

from __future__ import annotations

import re

from markdown_it.rules_inline import StateInline, autolink, html_inline

from text.addresses import address_end
from text.html_tags import HIDDEN, VERBATIM, closed_names, is_markup, tag_name, text_of

# The ``markup`` of a link to an address that was written without marks.
BARE_ADDRESS = "address"

_SCHEME = re.compile(r"(?<![a-z0-9+.-])(?:https?|ftp)$", re.IGNORECASE)
_MAX_SCHEME_CHARACTERS = len("x") + len("https")
_AUTOLINK = re.compile(r"<(?:(?:https?|ftp)://|mailto:|tel:|[^\s<>@]+@)", re.IGNORECASE)
_DRIVE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]:$")
_FILE_PATH = re.compile(r"[^\s<>\"*`|]+")
_SHARE = re.compile(r"\\\\[\w.-]+\\[^\s<>\"*`|]*")


def read_address(state: StateInline, silent: bool) -> bool:
    """Read a bare address. Stars and underscores in it are part of the address."""
    scheme = _SCHEME.search(state.pending[-_MAX_SCHEME_CHARACTERS:])
    if not scheme or state.linkLevel or not state.src.startswith("://", state.pos):
        return False
    start = state.pos + len("://")
    end = min(address_end(state.src, start), state.posMax)
    if end == start:
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme[0])]
        address = scheme[0] + state.src[state.pos : end].replace("&amp;", "&")
        state.push("link_open", "a", 1).markup = BARE_ADDRESS
        state.push("text", "", 0).content = address
        state.push("link_close", "a", -1).markup = BARE_ADDRESS
    state.pos = end
    return True


def read_file_path(state: StateInline, silent: bool) -> bool:
    """Read a path of Windows, in which a backslash escapes nothing."""
    if state.src[state.pos] != "\\":
        return False
    share = _SHARE.match(state.src, state.pos, state.posMax)
    drive = _DRIVE.search(state.src, max(0, state.pos - 3), state.pos)
    path = share or (drive and _FILE_PATH.match(state.src, state.pos, state.posMax))
    if not path:
        return False
    content = path[0].rstrip(".,:;!?)_~")
    if not silent:
        state.append_pending(content)
    state.pos += len(content)
    return bool(content)


def read_autolink(state: StateInline, silent: bool) -> bool:
    """Read an address in angle brackets; ``<order:id>`` is not one."""
    if not _AUTOLINK.match(state.src, state.pos):
        return False
    return autolink(state, silent)


def read_html(state: StateInline, silent: bool) -> bool:
    """Read a tag of HTML, or an element whose content is not Markdown."""
    if state.src[state.pos] != "<":
        return False
    if state.src.startswith(("<!", "<?"), state.pos):
        return html_inline(state, silent)
    name, start = tag_name(state.src, state.pos), state.pos
    if not name or not html_inline(state, True):
        return False
    tag = state.src[start : state.pos]
    # The parser's rule has found the end of the tag, but not whether it is really a tag.
    end, state.pos = state.pos, start
    if not is_markup(tag, _closed_names(state)):
        return False
    if name in HIDDEN | VERBATIM and not tag.startswith("</"):
        return _read_element(state, name, end, silent)
    return html_inline(state, silent)


def _closed_names(state: StateInline) -> frozenset[str]:
    names: frozenset[str] = state.env["closed_names"]
    return names


def _read_element(state: StateInline, name: str, content_start: int, silent: bool) -> bool:
    """Read everything up to the closing tag; if there is none, read the tag alone."""
    closing = re.compile(rf"</{name}\s*>", re.IGNORECASE)
    end = closing.search(state.src, content_start, state.posMax)
    if not end:
        return html_inline(state, silent)
    if not silent and name in VERBATIM:
        content = text_of(state.src[content_start : end.start()]).strip("\n")
        kind = "fence" if "\n" in content else "code_inline"
        state.push(kind, "code", 0).content = content
    state.pos = end.end()
    return True


def parser_environment(text: str) -> dict[str, frozenset[str]]:
    """The facts about the whole text that these rules need, for the parser's ``env``."""
    return {"closed_names": closed_names(text)}
