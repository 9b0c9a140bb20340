"""Which questions are public, and how their wording is normalised for comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.errors import SettingsError
from core.settings import Settings
from sandbox import CREDENTIALS
from turns import public_questions
from turns.public_questions import PublicQuestions, normalize_question


def read_questions(tmp_path: Path, lines: bytes | str = "", **changes: str) -> PublicQuestions:
    file = tmp_path / "public.txt"
    file.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    given = CREDENTIALS | {
        "PUBLIC_URL": "https://bot.example.com",
        "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
        "ANSWER_CACHE_SECONDS": "60",
        "ANSWER_CACHE_PATTERNS": str(file),
    }
    return public_questions.public_questions(Settings(**(given | changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked",
    [
        "How do I register?",
        "  how DO I\n\tregister ?! ",
        "«How do I register…»",
        "How, do I register",
        "*How* do I _register_",
        "\u200fHow do I register?\u200f",
        "Ｈｏｗ do I register？",
        "How\u00a0do I register",
    ],
)
def test_case_blanks_and_punctuation_do_not_matter(asked: str) -> None:
    assert normalize_question(asked) == "how do i register"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is it 1.5?", "Is it 15?"),
        ("Is it 1.5?", "Is it 1 5?"),
        ("Until 5/6?", "Until 5 6?"),
        ("What is C#?", "What is C?"),
        ("$5?", "€5?"),
        ("Is 5 > 4?", "Is 5 < 4?"),
        ("Is 50% enough?", "Is 50 enough?"),
        ("كيف أسجل؟", "كيف ألغي؟"),
        ("hello 👍", "hello 👎"),
        ("naïve", "naive"),
    ],
)
def test_questions_of_different_meaning_stay_different(one: str, other: str) -> None:
    assert normalize_question(one) != normalize_question(other)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalize_question(text)
    assert normalize_question(once) == once == " ".join(once.split())


@given(st.text(alphabet="ab?! .,\n\t\u200f", max_size=20))
def test_punctuation_and_blanks_only_separate_words(text: str) -> None:
    assert set(normalize_question(text)) <= set("ab ")


def test_each_line_of_the_file_is_a_pattern_for_the_whole_question(tmp_path: Path) -> None:
    public = read_questions(
        tmp_path, "# About invoices\n\n  How do I (register|cancel)( an invoice)?  \nكيف أسجل\n"
    )
    for words in ("how do i register", "how do i cancel an invoice", "كيف أسجل"):
        assert public.include(words, first=False)
    for words in ("how do i", "and how do i register", "how do i register 4711", "about invoices"):
        assert not public.include(words, first=True)


def test_the_first_question_is_public_only_if_the_setting_says_so(tmp_path: Path) -> None:
    public = read_questions(tmp_path, "hello", ANSWER_CACHE_FIRST="true")
    assert public.include("what about my invoice", first=True)
    assert not public.include("what about my invoice", first=False)
    assert public.include("hello", first=False)


def test_a_pattern_that_takes_too_long_does_not_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names the pattern, but not the question, which is private."""
    monkeypatch.setattr(public_questions, "MATCH_SECONDS", 0.01)
    public = read_questions(tmp_path, "(a|aa)+c")
    with capture_logs() as lines:
        assert not public.include("a" * 200 + "cc", first=False)
    assert [line["pattern"] for line in lines] == ["(a|aa)+c"]
    assert "aaaa" not in str(lines)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("hello\n# a comment\nhow (do I", "line 3 of "),
        ("[", "line 1 of "),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_bad_file_stops_the_start_with_one_sentence_that_names_the_line(
    tmp_path: Path, lines: bytes | str, reason: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        read_questions(tmp_path, lines)
    error = str(raised.value)
    assert error.startswith("ANSWER_CACHE_PATTERNS: ")
    assert reason in error
    assert "\n" not in error


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ANSWER_CACHE_PATTERNS: '/.*No such file"):
        read_questions(tmp_path, ANSWER_CACHE_PATTERNS=str(tmp_path / "none"))


@pytest.mark.parametrize("lines", ["", "# nothing\n"])
def test_a_cache_without_public_questions_stops_the_start(tmp_path: Path, lines: str) -> None:
    with pytest.raises(SettingsError, match="ANSWER_CACHE_SECONDS is set, but no question"):
        read_questions(tmp_path, lines)
    read_questions(tmp_path, lines, ANSWER_CACHE_SECONDS="0")
