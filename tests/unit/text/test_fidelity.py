"""What an agent wrote is what its reader sees and hears, whatever marks it put around it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.unit.text.agent_answers import PHRASES, write_answer
from text.markdown import to_speech, to_whatsapp
from text.splitting import MESSAGE_LIMIT, split_message, split_sentences

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
CELL = re.compile(r"(`+) ?(.*?) ?\1")
NEW_LINE = "⏎"
NOTHING = "nothing"


def cell_text(cell: str) -> str:
    """What a cell of the table quotes."""
    if cell == NOTHING:
        return ""
    quoted = CELL.fullmatch(cell)
    assert quoted, f"{cell} is to be in backticks"
    return quoted[2].replace(r"\|", "|").replace(NEW_LINE, "\n")


SECTION = PAGE.read_text(encoding="utf-8").partition("\n## Text\n")[2].partition("\n## ")[0]
EXAMPLES = [tuple(map(cell_text, row)) for row in ROW.findall(SECTION) if "`" in row[0]]


def missing(parts: list[str], text: str) -> list[str]:
    """The parts that do not stand in ``text`` behind those before them."""
    position, lost = 0, []
    for part in parts:
        found = text.find(part, position)
        if found < 0:
            lost.append(part)
        else:
            position = found + len(part)
    return lost


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) > 50


@pytest.mark.parametrize(("markdown", "shown", "spoken"), EXAMPLES)
def test_each_example_of_the_page_is_true(markdown: str, shown: str, spoken: str) -> None:
    assert to_whatsapp(markdown) == shown
    assert to_speech(markdown) == spoken


@pytest.mark.parametrize("script", PHRASES)
@pytest.mark.parametrize("seed", range(30))
def test_every_word_number_sign_and_link_is_shown_in_order(seed: int, script: str) -> None:
    answer = write_answer(seed, script)
    message = to_whatsapp(answer.markdown)
    assert not missing(answer.shown, message), message
    assert not missing(answer.shown, "\n".join(split_message(message))), "lost between messages"


@pytest.mark.parametrize("script", PHRASES)
@pytest.mark.parametrize("seed", range(30))
def test_every_word_number_and_sign_is_spoken_in_order(seed: int, script: str) -> None:
    answer = write_answer(seed, script)
    words = to_speech(answer.markdown).replace("−", "- ")
    assert not missing(answer.spoken, words), words
    assert "://" not in words


def test_the_data_of_an_image_is_neither_shown_nor_spoken() -> None:
    """However long it is, and wherever it stands."""
    for data in ("iVBOR/+" * 471, "iVBOR/+" * 3000):
        address = f"data:image/png;base64,{data}=="
        assert to_whatsapp(f"![c]({address})") == "c"
        assert to_whatsapp(f"See [plan]({address}) <img src='{address}'> now").split() == [
            "See",
            "plan",
            "now",
        ]
        assert "iVBOR" not in to_whatsapp(f"Look: {address} there")
        assert "iVBOR" not in to_speech(f"Look: {address} there")


def test_chinese_is_cut_behind_its_stops() -> None:
    text = "".join(f"这是第{number}个很长的句子，里面没有空格。" for number in range(1, 131))
    parts = split_message(text)
    assert len(parts) == 2
    assert all(part.endswith("。") for part in parts)
    assert "".join(parts) == text
    sentences = split_sentences(text, 80)
    assert len(sentences) == 130
    assert "".join(sentences) == text


@pytest.mark.parametrize("unit", ["这是第{}个", "これは{}番の", "นี่คือ{}ของ"])
def test_no_number_is_cut_where_nothing_else_parts_words(unit: str) -> None:
    text = "".join(unit.format(number) for number in range(100_000, 100_400))
    parts = split_message(text)
    assert "".join(parts) == text
    assert not any(
        re.search(r"\d\n\d", f"{one[-1]}\n{two[0]}") for one, two in itertools.pairwise(parts)
    )


@pytest.mark.parametrize("lines", [20, 120, 400, *range(37, 47)])
def test_each_part_of_a_long_program_is_a_fence_of_its_own(lines: int) -> None:
    program = [f"    line_{number} = __init__(*args)  # *x* | y" for number in range(lines)]
    markdown = "Look:\n\n```python\n" + "\n".join(program) + "\n```\n\nThat is **all**."
    parts = split_message(to_whatsapp(markdown))
    assert all(part.count("```") % 2 == 0 for part in parts)
    assert all("```\n```" not in part for part in parts)
    assert all(len(part) <= MESSAGE_LIMIT for part in parts)
    shown = [line for part in parts for line in part.split("\n") if "line_" in line]
    assert shown == program
    assert parts[-1].endswith("That is *all*.")


def test_a_table_keeps_its_titles_however_long_it_is() -> None:
    rows = "".join(f"| {number} | value of number {number} |\n" for number in range(400))
    shown = to_whatsapp(f"| Number | Meaning |\n|---|---|\n{rows}").split("\n")
    assert [line for line in shown if line] == [
        f"- *Number:* {number}, *Meaning:* value of number {number}" for number in range(400)
    ]
