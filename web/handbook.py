"""The pages of ``docs/`` for operators, as the dashboard links to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Response, abort
from markdown_it import MarkdownIt
from markdown_it.token import Token

from web.pages import render_page

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = (
    "first-bad-day",
    "operating",
    "going-live",
    "configuration",
    "failures",
    "scaling",
    "upgrading",
)
DASHBOARD = "/dashboard"
HANDBOOK = f"{DASHBOARD}/docs"
_OUR_LINK = re.compile(rf"(?:({'|'.join(PAGES)})\.md)?(#[^\s]+)?")


def bad_day(heading: str) -> str:
    """The link to what to do; ``heading`` is one of docs/first-bad-day.md."""
    return f"{HANDBOOK}/first-bad-day.md#{anchor(heading)}"


def anchor(heading: str) -> str:
    """The anchor of a heading: small letters, and a hyphen for each blank."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def handbook_page(name: str) -> Response:
    """One of ``PAGES`` as HTML; 404 if there is none of this name."""
    if name not in PAGES:
        abort(404)
    markdown = MarkdownIt("commonmark").enable("table").disable("image")
    tokens = markdown.parse((DOCS / f"{name}.md").read_text(encoding="utf-8"))
    _set_anchors(tokens)
    for token in tokens:
        token.children = list(_without_other_links(token.children or ()))
        if token.type == "table_open":
            # A wide table scrolls to the side, by keyboard too.
            token.attrSet("tabindex", "0")
    content = markdown.renderer.render(tokens, markdown.options, {})
    return render_page("handbook.html", content=content, title=tokens[1].content)


def _set_anchors(tokens: Iterable[Token]) -> None:
    heading: Token | None = None
    for token in tokens:
        if heading:
            heading.attrSet("id", anchor(token.content))
        heading = token if token.type == "heading_open" else None


def _without_other_links(tokens: Iterable[Token]) -> Iterator[Token]:
    """Links to files that are not served become plain text."""
    drops = False
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            drops = not (target.startswith("https://") or _OUR_LINK.fullmatch(target))
        if not (drops and token.type in ("link_open", "link_close")):
            yield token
