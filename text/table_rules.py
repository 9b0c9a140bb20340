"""A rule of the Markdown parser for tables: rows have a ``|``, and keep cells without a title."""

from __future__ import annotations

from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token


def read_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a table up to the first line without ``|``, which the parser's own rule takes for a row.

    That rule also drops the cells of a row that exceed the titles.
    """
    # The end of the rows is looked for only where a table begins, not at each line of a text.
    if not table(state, start, end, silent=True):
        return False
    if silent:
        return True
    first = len(state.tokens)
    table(state, start, _end_of_rows(state, start, end), silent=False)
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


def _end_of_rows(state: StateBlock, start: int, end: int) -> int:
    """The first line below the titles and their underline that has no ``|``."""
    rows = range(start + 2, end)
    return next((row for row in rows if "|" not in state.getLines(row, row + 1, 0, False)), end)


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
