"""Words and scales of the dashboard, whose scripts run in V8, and the advice that it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from py_mini_racer import MiniRacer

from core.errors import BridgeError
from web.advice import error_classes

PAGES = Path(__file__).resolve().parents[3] / "web" / "dashboard"
SCRIPTS = {file.stem: file.read_text(encoding="utf-8") for file in PAGES.glob("*.js")}
SPACES = str.maketrans({"\N{NO-BREAK SPACE}": " "})


@pytest.fixture(scope="module")
def engine() -> MiniRacer:
    engine = MiniRacer()
    engine.eval(SCRIPTS["format"])
    engine.eval(SCRIPTS["scale"])
    return engine


def call(engine: MiniRacer, function: str, *arguments: object) -> Any:
    return engine.call(function, *arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("seconds", [0], "0 s"),
        ("seconds", [0.0057], "5.7 ms"),
        ("seconds", [0.45], "0.45 s"),
        ("seconds", [9.999], "10.0 s"),
        ("seconds", [12.345], "12.3 s"),
        ("seconds", [99.96], "1 min 40 s"),
        ("seconds", [120], "2 min"),
        ("seconds", [7260], "2 h 1 min"),
        ("duration", [59.9], "59 s"),
        ("duration", [3600], "1 h"),
        ("duration", [49 * 3600], "2 days"),
        # The browser's clock can be behind the service's.
        ("ago", [-3], "just now"),
        ("ago", [4], "4 s ago"),
        ("percent", [0], "0 %"),
        ("percent", [0.004], "< 1 %"),
        ("percent", [0.996], "> 99 %"),
        ("percent", [1], "100 %"),
        ("secondsTick", [0.25, 0.25], "0.25 s"),
        ("secondsTick", [5, 2.5], "5.0 s"),
        ("secondsTick", [4, 2], "4 s"),
        ("sentence", ["the log says why"], "The log says why."),
        ("sentence", ["Write first."], "Write first."),
        ("sentence", [""], ""),
        ("plural", [1, "step has", "steps have"], "1 step has"),
        ("plural", [0, "step has", "steps have"], "0 steps have"),
    ],
)
def test_numbers_are_readable(
    engine: MiniRacer, function: str, arguments: list[object], text: str
) -> None:
    assert call(engine, function, *arguments).translate(SPACES) == text


@pytest.mark.parametrize(
    ("most", "whole", "ticks"),
    [
        (0, False, [0, 0.25, 0.5, 0.75, 1]),
        (0, True, [0, 1]),
        (1, True, [0, 1]),
        (3, True, [0, 1, 2, 3]),
        (10, True, [0, 3, 6, 9, 12]),
        (17, True, [0, 5, 10, 15, 20]),
        (100, False, [0, 25, 50, 75, 100]),
        (0.9, False, [0, 0.25, 0.5, 0.75, 1]),
        (6.4, False, [0, 2, 4, 6, 8]),
        (12345, True, [0, 5000, 10000, 15000]),
    ],
)
def test_ticks_are_round_and_reach_the_largest_value(
    engine: MiniRacer, most: float, whole: bool, ticks: list[float]
) -> None:
    assert call(engine, "roundTicks", most, 4, whole) == ticks


def test_values_with_gaps_are_drawn_in_pieces(engine: MiniRacer) -> None:
    values = [None, 1, 0, None, None, 3]
    assert call(engine, "runs", values) == [[1, 2], [5]]
    assert call(engine, "runs", [None]) == []


def test_the_scripts_find_all_elements_that_they_use() -> None:
    page = "".join((PAGES / name).read_text("utf-8") for name in ("base.html", "dashboard.html"))
    script = "\n".join(SCRIPTS.values())
    used = set(re.findall(r'(?:byId|showShares)\("([\w-]+)"', script))
    used |= set(re.findall(r'^  "([\w-]+-plot)": ', script, re.MULTILINE))
    used |= set(re.findall(r'fill\(byId\("[\w-]+"\), "(\w+)"', script))
    assert used <= set(re.findall(r'id="([\w-]+)"', page))
    fields = set(re.findall(r'field\([^"]*"(\w+)"\)', script))
    assert fields <= set(re.findall(r'data-field="(\w+)"', page))


def test_each_error_has_advice() -> None:
    leaves = {name for name, each in error_classes().items() if _is_leaf(each)}
    vague = {name for name in leaves if error_classes()[name].advice == BridgeError.advice}
    # These are never counted as errors of a turn.
    assert vague == {"SettingsError", "TurnSuperseded", "ForgedRequest", "MalformedRequest"}


def _is_leaf(kind: type[BridgeError]) -> bool:
    """Other modules have classes of their own, which their callers handle."""
    return kind.__module__ == "core.errors" and not {
        each for each in kind.__subclasses__() if each.__module__ == "core.errors"
    }
