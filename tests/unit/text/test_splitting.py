"""Where long texts are cut."""

from __future__ import annotations

import re

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from text.splitting import (
    MESSAGE_LIMIT,
    first_sentences,
    group_sentences,
    split_message,
    split_sentences,
)

FAMILY = "👨‍👩‍👧‍👦"
WORDS = st.sampled_from(
    ["hello", "a", "مرحبا", "فاتورة،", "stop.", "Why?", "نعم؟", "https://a.b/c?d=e_f", "*bold*"]
    + ["_two words_", "`x = 1`", "🚀", FAMILY, "e\u0301e\u0301", "🇪🇬", "*", "(www.a.com)", "漢字。"]
)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "  ", ""])
TEXTS = st.lists(st.tuples(WORDS, GAPS), max_size=80).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def without_space(text: str) -> str:
    return "".join(text.split())


def cuts(text: str, parts: list[str]) -> list[tuple[int, int]]:
    """For every cut, where the part before it ends and the one behind it begins."""
    found, position = [], 0
    for part in parts:
        start = text.index(part, position)
        found.append((position, start))
        position = start + len(part)
    return found[1:]


@given(st.text(), st.integers(2, 60))
def test_any_text_comes_in_order_in_parts_that_fit(text: str, limit: int) -> None:
    """Nothing but whitespace is lost, no part is blank, padded or too long."""
    parts = split_message(text, limit)
    assert without_space("".join(parts)) == without_space(text)
    assert all(0 < units(part) <= limit for part in parts)
    assert all(part == part.strip() for part in parts)


@given(TEXTS, st.integers(30, 120))
@settings(max_examples=200)
def test_no_cut_inside_a_link_or_a_character(text: str, limit: int) -> None:
    """Graphemes and links that fit a part are never taken apart."""
    whole = [found.span() for found in regex.finditer(r"\X", text)]
    whole += [
        found.span()
        for found in regex.finditer(r"(?<!\S)https://a\.b/c\?d=e_f", text)
        if len(found[0]) < limit // 2
    ]
    for end, start in cuts(text, split_message(text, limit)):
        if end == start:
            assert not any(first < end < last for first, last in whole)


@given(TEXTS)
def test_short_texts_are_one_part(text: str) -> None:
    assert split_message(text) == ([text.strip()] if text.strip() else [])


def test_the_limit_is_twilios_and_counts_emoji_twice() -> None:
    assert MESSAGE_LIMIT == 1600
    assert len(split_message("a" * 1600)) == 1
    assert len(split_message("a" * 1601)) == 2
    assert len(split_message("🚀" * 800)) == 1
    assert [units(part) for part in split_message("🚀" * 801)] == [1600, 2]


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("One two.\n\nThree four. Five six", 25, ["One two.", "Three four. Five six"]),
        ("One two.\nThree four. Five six", 25, ["One two.", "Three four. Five six"]),
        ("One two three. Four five six", 20, ["One two three.", "Four five six"]),
        ("One two three four five", 14, ["One two three", "four five"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ('He said "stop." Then he left', 22, ['He said "stop."', "Then he left"]),
        ("مرحبا بك اليوم. كيف حالك أنت؟", 20, ["مرحبا بك اليوم.", "كيف حالك أنت؟"]),
        ("هل أنت بخير؟ نعم أنا بخير", 18, ["هل أنت بخير؟", "نعم أنا بخير"]),
        ("a " + "b" * 30, 20, ["a " + "b" * 18, "b" * 12]),
    ],
)
def test_paragraphs_then_lines_then_sentences_then_words(
    text: str, limit: int, parts: list[str]
) -> None:
    assert split_message(text, limit) == parts


def test_an_early_paragraph_is_not_worth_a_message_of_its_own() -> None:
    parts = split_message("Hi.\n\n" + "One two three. " * 6, 60)
    assert parts[0].startswith("Hi.\n\nOne two three.")


@pytest.mark.parametrize(
    "marked",
    [
        "*one two three four*",
        "_one two three four_",
        "~one two three four~",
        "`one two three four`",
    ],
)
def test_marked_text_moves_to_the_next_part_whole(marked: str) -> None:
    """A pair that is parted would show its marks."""
    parts = split_message(f"Some words before it {marked} and after it", 32)
    assert any(marked in part for part in parts)


def test_a_program_moves_to_the_next_part_whole() -> None:
    program = "```\nx = 1\n\ny = 2\n```"
    parts = split_message(f"{'Word. ' * 8}\n\n{program}\n\nAnd so on.", 60)
    assert any(program in part for part in parts)


def test_marked_text_longer_than_a_part_is_cut_at_a_word() -> None:
    text = "*" + "word " * 100 + "end*"
    parts = split_message(text, 100)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)
    assert all(part.split()[0].strip("*") in ("word", "end") for part in parts)


@pytest.mark.parametrize("before", range(1580, 1600, 3))
def test_a_link_at_the_border_stays_whole(before: int) -> None:
    link = "https://acme.my.site.com/orders?id=0123456789&token=abcdefghijklmnop"
    parts = split_message(f"{'a' * 40} " * (before // 41) + f"see ({link}) please")
    assert any(link in part for part in parts)


def test_a_link_longer_than_a_part_is_still_sent() -> None:
    link = "https://a.b/" + "c" * 500
    assert "".join(split_message(f"See {link}", 100)).endswith("c" * 100)


@pytest.mark.parametrize(
    "character", [FAMILY, "🇪🇬", "e\u0301", "👍🏽", "क्षि", "\u0644\u0651\u064e"]
)
def test_characters_as_readers_see_them_stay_whole(character: str) -> None:
    parts = split_message(character * 60, 50)
    assert len(parts) > 1
    assert all(part == character * (len(part) // len(character)) for part in parts)


def test_a_character_larger_than_a_part_is_cut_all_the_same() -> None:
    text = "a" + "\u0301" * 300
    assert "".join(split_message(text, 100)) == text


@pytest.mark.parametrize(
    "unit",
    ["a", "*a ", "**a ", "_", "`", "```", "a-", "a.", "x:", "www.", "(", "\n", " ", "\u0301"]
    + [FAMILY, "https://", "مرحبا. ", ". ", "\u200d", "*x y"],
)
def test_64_kb_of_anything_is_cut(unit: str) -> None:
    text = unit * (65_536 // len(unit))
    parts = split_message(text)
    assert without_space("".join(parts)) == without_space(text)
    assert all(units(part) <= MESSAGE_LIMIT for part in parts)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Line\nline\n\nline", ["Line", "line", "line"]),
        ("كيف حالك؟ بخير. شكرًا", ["كيف حالك؟", "بخير.", "شكرًا"]),
        ('He said "no." Then', ['He said "no."', "Then"]),
        ("3.5 is a number", ["3.5 is a number"]),
        ("Ask Dr. Smith. He knows", ["Ask Dr. Smith.", "He knows"]),
        ("In St. Gallen, No. 7. Yes", ["In St. Gallen, No. 7.", "Yes"]),
        ("Zimmer Nr. 5. Danke", ["Zimmer Nr. 5.", "Danke"]),
        ("Am Montag, z. B. Mittags. Gut", ["Am Montag, z. B. Mittags.", "Gut"]),
        ("Am 24. Dezember. Danke", ["Am 24. Dezember.", "Danke"]),
        ("Am 24. 12. und am 25. abends. Gut", ["Am 24. 12. und am 25. abends.", "Gut"]),
        ("It is 24. Then 25", ["It is 24.", "Then 25"]),
        ("No. That is all", ["No.", "That is all"]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text, 100) == sentences


def test_a_date_is_one_sentence_while_its_month_is_being_written() -> None:
    text = "Am 24. Dezember"
    assert all(split_sentences(text[:end], 100) == [text[:end].strip()] for end in range(1, 16))


def test_no_message_ends_with_a_title() -> None:
    assert split_message("One two three. Please ask Dr. Smith today", 34)[0] == "One two three."


def test_a_long_sentence_is_cut_at_its_clauses() -> None:
    sentence = "When the parcel comes, someone must be at home, for it has to be signed for by you."
    assert split_sentences(sentence, 60) == [
        "When the parcel comes, someone must be at home,",
        "for it has to be signed for by you.",
    ]


@pytest.mark.parametrize(
    "number",
    [
        "+44 20 7946 0018",
        "+1 (202) 555 0123",
        "(030) 123 45 67",
        "+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧",
        "DE89 3704 0044 0532 0130 00",
        "GB29 NWBK 6016 1331 9268 19",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "1 249,00 €",
        "1\u00a0249,00\u00a0€",
        "1\u202f249 PLN",
        "EUR 1 249",
        "Rp 20.000",
        "$ 20",
        "25 %",
        "8 AM",
        "20 euros",
    ],
)
def test_no_sentence_is_cut_inside_a_number(number: str) -> None:
    """Wherever in the sentence it stands."""
    for before in range(40, 80):
        sentence = f"{'so ' * (before // 3)}{'a' * (before % 3)} {number} {'or so ' * 10}"
        parts = split_sentences(sentence, 80)
        assert len(parts) > 1
        assert any(number in part for part in parts), parts
        assert all(len(part) <= 80 for part in parts)


def test_a_number_and_what_it_counts_stay_together_without_blanks() -> None:
    for before in range(15, 20):
        assert any(
            "100元" in part for part in split_sentences(f"{'很' * before}100元{'吗' * 9}", 20)
        )


def test_numbers_longer_than_a_part_are_cut_at_a_blank() -> None:
    numbers = "1234 " * 40
    assert all(set(part.split()) == {"1234"} for part in split_sentences(numbers, 80))


@given(TEXTS, st.integers(2, 80))
def test_sentences_say_everything(text: str, longest: int) -> None:
    sentences = split_sentences(text, longest)
    assert without_space("".join(sentences)) == without_space(text)


@given(st.lists(st.sampled_from(["yes,", "no", "why?", "so.", "\n", "مرحبا،", "نعم؟"])), st.data())
def test_sentences_stay_as_they_are_however_the_text_goes_on(
    words: list[str], data: st.DataObject
) -> None:
    """What is spoken while the agent writes is not spoken in vain."""
    written = " ".join(words[: data.draw(st.integers(0, len(words)))])
    complete = split_sentences(written, 20)[:-1]
    assert split_sentences(" ".join(words), 20)[: len(complete)] == complete


def test_groups_gather_short_sentences_up_to_the_size() -> None:
    sentences = ["One.", "Two.", "Three four five six.", "Seven."]
    assert group_sentences(sentences, 12) == [
        ["One.", "Two."],
        ["Three four five six."],
        ["Seven."],
    ]


@given(st.lists(WORDS), st.integers(0, 80))
def test_groups_keep_every_sentence_in_order(sentences: list[str], size: int) -> None:
    groups = group_sentences(sentences, size)
    assert [sentence for group in groups for sentence in group] == sentences
    assert all(len(group) == 1 or len(" ".join(group)) <= size for group in groups)


@given(TEXTS, st.integers(10, 80))
def test_first_sentences_are_the_beginning(text: str, limit: int) -> None:
    first = first_sentences(text, limit)
    assert units(first) <= limit
    assert without_space(text).startswith(without_space(first))
    assert units(text) > limit or first == text


def test_first_sentences_end_with_a_sentence() -> None:
    assert first_sentences("One two three. Four five six.", 20) == "One two three."
