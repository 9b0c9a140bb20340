"""Log lines, and what they must not contain."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from core.errors import MediaMissing
from core.logs import ContextPool, configure_logging, hash_sender

SENDER = "whatsapp:+14155550100"


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    """Logging is global, and other tests need it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Stderr:
    """What was written to standard error so far."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._captured.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    return Stderr(capsys)


def test_a_text_line_has_the_message_and_its_context(stderr: Stderr) -> None:
    configure_logging(level="INFO", form="text")
    with structlog.contextvars.bound_contextvars(turn="SM1", sender="0a1b2c3d4e"):
        structlog.get_logger("a").info("⏱️ STT time: 0.45s")
    (line,) = stderr.getvalue().splitlines()
    assert "⏱️ STT time: 0.45s" in line
    assert "turn=SM1" in line
    assert "sender=0a1b2c3d4e" in line
    assert "\x1b" not in line


def test_a_json_line_has_the_same(stderr: Stderr) -> None:
    configure_logging(level="INFO", form="json")
    with structlog.contextvars.bound_contextvars(turn="SM1"):
        structlog.get_logger("a").warning("عذرًا", answer=1)
        logging.getLogger("library").warning("%s happened", "it")
    first, second = map(json.loads, stderr.getvalue().splitlines())
    assert (first["event"], first["level"], first["turn"], first["answer"]) == (
        "عذرًا",
        "warning",
        "SM1",
        1,
    )
    assert (second["event"], second["turn"]) == ("%s happened", "SM1")
    assert "timestamp" in first


def test_an_exception_is_one_json_line(stderr: Stderr) -> None:
    configure_logging(level="INFO", form="json")
    try:
        raise MediaMissing("HTTP 404")
    except MediaMissing:
        structlog.get_logger("a").exception("It broke")
    (line,) = stderr.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("MediaMissing: HTTP 404")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_quotes_neither_people_nor_secrets(stderr: Stderr, form: str) -> None:
    """They are in local variables, and in the messages of exceptions that are not ours."""
    configure_logging(level="INFO", form=form)
    transcript = " ".join(["my", "secret"])
    try:
        int(transcript)
    except ValueError:
        structlog.get_logger("a").exception("It broke")
    assert "in test_a_traceback_quotes" in stderr.getvalue()
    assert "ValueError" in stderr.getvalue()
    assert "my secret" not in stderr.getvalue()


def test_lines_below_the_level_are_not_written(stderr: Stderr) -> None:
    configure_logging(level="WARNING", form="text")
    structlog.get_logger("a").info("quiet")
    structlog.get_logger("a").warning("loud")
    assert "quiet" not in stderr.getvalue()
    assert "loud" in stderr.getvalue()


@pytest.mark.parametrize("name", ["httpx", "urllib3", "sqlalchemy.engine", "of.tomorrow"])
def test_libraries_log_nothing_below_warning_even_at_level_debug(stderr: Stderr, name: str) -> None:
    configure_logging(level="DEBUG", form="text")
    logging.getLogger(name).debug("GET https://signed.example.com")
    logging.getLogger(name).info(SENDER)
    assert stderr.getvalue() == ""


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "gunicorn.error"])
def test_warnings_of_libraries_are_logged_without_values(stderr: Stderr, name: str) -> None:
    """Even if the message is formatted already."""
    configure_logging(level="INFO", form="text")
    url = "https://signed.example.com/?key=secret"
    library = logging.getLogger(name)
    library.warning("Failed to parse headers (url=%s): %s", url, ValueError(SENDER), exc_info=True)
    library.error(f"Error handling request {url}")
    first, second = stderr.getvalue().splitlines()
    assert "Failed to parse headers (url=%s): %s" in first
    assert f"Error handling request https library={name}" in second
    assert "secret" not in first + second
    assert SENDER not in first


@pytest.mark.parametrize("form", ["text", "json"])
def test_unprintable_characters_are_escaped(stderr: Stderr, form: str) -> None:
    configure_logging(level="INFO", form=form)
    hostile = "one\n[error    ] Cannot start\x1b[2J\u202egnisrever\ud800"
    structlog.get_logger("a").warning(hostile, error=hostile)
    (line,) = stderr.getvalue().splitlines()
    assert line.isprintable()
    assert "Cannot start" in line


def test_configuring_twice_does_not_duplicate_lines(stderr: Stderr) -> None:
    configure_logging(level="INFO", form="text")
    configure_logging(level="INFO", form="text")
    structlog.get_logger("a").info("once")
    assert stderr.getvalue().count("once") == 1


def test_a_sender_is_hashed_to_the_same_ten_digits() -> None:
    assert hash_sender(SENDER, key="k") == hash_sender(SENDER, key="k")
    assert len(hash_sender(SENDER, key="k")) == 10
    assert "4155" not in hash_sender(SENDER, key="k")


@pytest.mark.parametrize("key", ["", "k", "x" * 100, "ключ" * 20])
def test_any_key_can_be_used_and_another_gives_another_hash(key: str) -> None:
    assert hash_sender(SENDER, key=key) != hash_sender(SENDER, key="other")
    assert hash_sender(SENDER, key=key) != hash_sender(SENDER + "1", key=key)


def test_pool_threads_log_with_the_context_of_the_submitter(stderr: Stderr) -> None:
    configure_logging(level="INFO", form="json")
    log = structlog.get_logger("a")
    with ContextPool(2) as pool:
        with structlog.contextvars.bound_contextvars(turn="one"):
            first = pool.submit(log.info, "work", of=1)
        with structlog.contextvars.bound_contextvars(turn="two"):
            second = pool.submit(log.info, "work", of=2)
        first.result(), second.result()
        pool.submit(log.info, "work", of=3).result()
    lines = sorted(map(json.loads, stderr.getvalue().splitlines()), key=lambda it: it["of"])
    assert [line.get("turn") for line in lines] == ["one", "two", None]


def test_the_pool_returns_results_and_errors() -> None:
    def total(number: int, *, plus: int) -> int:
        return number + plus

    with ContextPool(1) as pool:
        assert pool.submit(total, 1, plus=2).result() == 3
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()
