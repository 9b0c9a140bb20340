"""Log lines, and what must not be in them."""

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
def restored() -> Iterator[None]:
    """Logging is the process's; other tests want it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Written:
    """What went to standard error so far."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._captured.readouterr().err
        return self._text


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys)


def test_text_lines_are_those_operators_know(written: Written) -> None:
    configure_logging(level="INFO", form="text")
    with structlog.contextvars.bound_contextvars(turn="SM1", sender="0a1b2c3d4e"):
        structlog.get_logger("a").info("⏱️ STT time: 0.45s")
    (line,) = written.getvalue().splitlines()
    assert "⏱️ STT time: 0.45s" in line
    assert "turn=SM1" in line
    assert "sender=0a1b2c3d4e" in line
    assert "\x1b" not in line


def test_json_lines_hold_the_same(written: Written) -> None:
    configure_logging(level="INFO", form="json")
    with structlog.contextvars.bound_contextvars(turn="SM1"):
        structlog.get_logger("a").warning("عذرًا", answer=1)
        logging.getLogger("library").warning("%s happened", "it")
    first, second = map(json.loads, written.getvalue().splitlines())
    assert (first["event"], first["level"], first["turn"], first["answer"]) == (
        "عذرًا",
        "warning",
        "SM1",
        1,
    )
    assert (second["event"], second["turn"]) == ("%s happened", "SM1")
    assert "timestamp" in first


def test_an_exception_is_one_json_line(written: Written) -> None:
    configure_logging(level="INFO", form="json")
    try:
        raise MediaMissing("HTTP 404")
    except MediaMissing:
        structlog.get_logger("a").exception("It broke")
    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("MediaMissing: HTTP 404")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_holds_neither_what_was_said_nor_secrets(written: Written, form: str) -> None:
    """Local variables do, and so do the messages of other people's exceptions."""
    configure_logging(level="INFO", form=form)
    transcript = " ".join(["my", "secret"])
    try:
        int(transcript)
    except ValueError:
        structlog.get_logger("a").exception("It broke")
    assert "in test_a_traceback_holds" in written.getvalue()
    assert "ValueError" in written.getvalue()
    assert "my secret" not in written.getvalue()


def test_the_level_is_kept(written: Written) -> None:
    configure_logging(level="WARNING", form="text")
    structlog.get_logger("a").info("quiet")
    structlog.get_logger("a").warning("loud")
    assert "quiet" not in written.getvalue()
    assert "loud" in written.getvalue()


@pytest.mark.parametrize("name", ["httpx", "urllib3", "sqlalchemy.engine", "of.tomorrow"])
def test_libraries_say_nothing_that_does_not_matter_even_in_debug(
    written: Written, name: str
) -> None:
    configure_logging(level="DEBUG", form="text")
    logging.getLogger(name).debug("GET https://signed.example.com")
    logging.getLogger(name).info(SENDER)
    assert written.getvalue() == ""


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "gunicorn.error"])
def test_what_libraries_warn_of_is_told_without_the_details(written: Written, name: str) -> None:
    """Not even for a message that is put together already."""
    configure_logging(level="INFO", form="text")
    url = "https://signed.example.com/?key=secret"
    library = logging.getLogger(name)
    library.warning("Failed to parse headers (url=%s): %s", url, ValueError(SENDER), exc_info=True)
    library.error(f"Error handling request {url}")
    first, second = written.getvalue().splitlines()
    assert "Failed to parse headers (url=%s): %s" in first
    assert f"Error handling request https library={name}" in second
    assert "secret" not in first + second
    assert SENDER not in first


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_stays_a_line_and_reads_as_it_is(written: Written, form: str) -> None:
    configure_logging(level="INFO", form=form)
    hostile = "one\n[error    ] Cannot start\x1b[2J\u202egnisrever\ud800"
    structlog.get_logger("a").warning(hostile, error=hostile)
    (line,) = written.getvalue().splitlines()
    assert line.isprintable()
    assert "Cannot start" in line


def test_configuring_twice_does_not_double_the_lines(written: Written) -> None:
    configure_logging(level="INFO", form="text")
    configure_logging(level="INFO", form="text")
    structlog.get_logger("a").info("once")
    assert written.getvalue().count("once") == 1


def test_a_sender_is_always_the_same_ten_digits() -> None:
    assert hash_sender(SENDER, key="k") == hash_sender(SENDER, key="k")
    assert len(hash_sender(SENDER, key="k")) == 10
    assert "4155" not in hash_sender(SENDER, key="k")


@pytest.mark.parametrize("key", ["", "k", "x" * 100, "ключ" * 20])
def test_any_key_will_do_and_another_gives_another_hash(key: str) -> None:
    assert hash_sender(SENDER, key=key) != hash_sender(SENDER, key="other")
    assert hash_sender(SENDER, key=key) != hash_sender(SENDER + "1", key=key)


def test_pool_threads_log_with_the_context_of_who_submitted(written: Written) -> None:
    configure_logging(level="INFO", form="json")
    log = structlog.get_logger("a")
    with ContextPool(2) as pool:
        with structlog.contextvars.bound_contextvars(turn="one"):
            first = pool.submit(log.info, "work", of=1)
        with structlog.contextvars.bound_contextvars(turn="two"):
            second = pool.submit(log.info, "work", of=2)
        first.result(), second.result()
        pool.submit(log.info, "work", of=3).result()
    lines = sorted(map(json.loads, written.getvalue().splitlines()), key=lambda it: it["of"])
    assert [line.get("turn") for line in lines] == ["one", "two", None]


def test_pool_hands_results_and_errors_back() -> None:
    def total(number: int, *, plus: int) -> int:
        return number + plus

    with ContextPool(1) as pool:
        assert pool.submit(total, 1, plus=2).result() == 3
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()
