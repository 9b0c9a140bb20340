"""A rule of the Markdown parser for tables, which keeps the cells that have no title."""

from __future__ import annotations

from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token


def read_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a table. The parser's own rule drops the cells of a row that exceed the titles."""
    first = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    tokens = state.tokens[first:]
    columns = sum(token.type == "th_open" for token in tokens)
    del state.tokens[first:]
    row = start
    for token in tokens:
        row = token.map[0] if token.type == "tr_open" and token.map else row
        if token.type == "tr_close" and row > start:
            state.tokens += _cells(_split_row(state, row)[columns:], row, token.level)
        state.tokens.append(token)
    return True


def _split_row(state: StateBlock, line: int) -> list[str]:
    text = state.getLines(line, line + 1, state.blkIndent, False).strip()
    cells = escapedSplit(text.removeprefix("|"))
    return cells if cells[-1] else cells[:-1]


def _cells(contents: list[str], line: int, level: int) -> list[Token]:
    position = [line, line + 1]
    tokens = []
    for content in contents:
        tokens += [
            Token("td_open", "td", 1, level=level + 1, block=True),
            Token("inline", "", 0, content=content.strip(), children=[], map=position, block=True),
            Token("td_close", "td", -1, level=level + 1, block=True),
        ]
    return tokens
