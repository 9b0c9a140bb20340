"""The benchmark's calculations: the limit, the statistics and their targets, the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.burst import Burst
from bench.critical_path import CriticalPath
from bench.load_generator import ResponseTimes
from bench.performance_page import BEGIN, END, write_page
from bench.report import Row, as_markdown, as_text, sections
from bench.results import BotResults, Results
from bench.turn_observer import TurnTimes
from sandbox.latency import LatencyProfile

LATENCY = LatencyProfile(
    media=1.0, transcribe=2.0, session=0.5, ask=4.0, speak=0.3, speak_per_character=0.01, send=0.2
)
CRITICAL_PATH = CriticalPath(LATENCY, last_sentence_length=50)


def burst(*texts: float, wrong: int = 0, cpu: float = 0.05, memory_mb: int = 100) -> Burst:
    return Burst(
        size=len(texts),
        times=[TurnTimes(text, text + 0.5) for text in texts],
        wrong=wrong,
        cpu_per_turn=cpu,
        peak_memory=memory_mb << 20,
        final_memory=90 << 20,
        spans=CRITICAL_PATH.spans(),
    )


BOT = BotResults(
    voice=[burst(7.2), burst(7.3), burst(9.0)],
    text=[burst(4.7)],
    bursts={50: [burst(7.3, 8.0), burst(7.3, 9.0), burst(7.3, 30.0)], 200: [burst(8.0, 14.6)]},
)
ACKNOWLEDGED = ResponseTimes(0.0, [0.001] * 4752 + [0.15] * 10 + [0.2] * 38)
RESULTS = Results(CRITICAL_PATH, BOT, BOT, {80: ACKNOWLEDGED}, load_average=0.4, speed_ratio=1.1)


def rows(results: Results) -> dict[str, Row]:
    return {row.label: row for section in sections(results) for row in section.rows}


def test_the_limit_is_the_latency_of_the_providers_alone() -> None:
    assert CRITICAL_PATH.text_turn == pytest.approx(4.0 + 0.2)
    assert CRITICAL_PATH.voice_turn == pytest.approx(1.0 + 2.0 + 4.0 + 0.2)
    assert CRITICAL_PATH.note_after_text == pytest.approx(0.3 + 50 * 0.01 - 0.2)


def test_the_limit_includes_a_session_that_starts_slowly() -> None:
    slow = CriticalPath(replace(LATENCY, session=5.0), last_sentence_length=50)
    assert slow.voice_turn == pytest.approx(5.0 + 4.0 + 0.2)


def test_a_voice_note_is_not_sent_before_its_text() -> None:
    slow = CriticalPath(replace(LATENCY, send=3.0), last_sentence_length=50)
    assert slow.note_after_text == 0.0


def test_the_spans_of_the_limit_end_at_its_times() -> None:
    spans = {span.name: span for span in CRITICAL_PATH.spans()}
    assert spans["text"].end == pytest.approx(CRITICAL_PATH.voice_turn)
    note_after_text = spans["voice"].start - spans["text"].end
    assert note_after_text == pytest.approx(CRITICAL_PATH.note_after_text)


def test_single_turns_give_their_median_and_bursts_the_median_of_their_worst() -> None:
    found = rows(RESULTS)
    assert found["voice turn: text"].bridge == 7.3
    assert found["voice turn: text ÷ limit"].bridge == pytest.approx(7.3 / 7.2)
    assert found["50 at once: worst text"].bridge == 9.0
    assert found["50 at once: worst text ÷ one turn's"].bridge == pytest.approx(9.0 / 7.3)
    assert found["50 at once: worst voice note"].bridge == 9.5


@pytest.mark.parametrize(
    ("label", "changes", "met"),
    [
        ("voice turn: text ÷ limit", {}, "yes"),
        ("voice turn: text ÷ limit", {"voice": [burst(7.5)]}, "no"),
        ("50 at once: worst text ÷ one turn's", {}, "yes"),
        ("50 at once: worst text ÷ one turn's", {"bursts": {50: [burst(9.5)]}}, "no"),
        ("200 at once: worst text ÷ one turn's", {}, "yes"),
        ("CPU a voice turn, 50 at once, ms", {}, "yes"),
        ("CPU a voice turn, 50 at once, ms", {"bursts": {50: [burst(9.5, cpu=0.071)]}}, "no"),
        ("memory, 200 at once, MB", {}, "yes"),
        ("memory, 200 at once, MB", {"bursts": {200: [burst(9.5, memory_mb=401)]}}, "no"),
        ("turns lost, or not answered once", {}, "yes"),
        ("turns lost, or not answered once", {"text": [burst(1.0, wrong=1)]}, "no"),
    ],
)
def test_targets_are_met_or_not(label: str, changes: dict[str, list[Burst]], met: str) -> None:
    changed = replace(RESULTS, bridge=replace(BOT, **changes))  # type: ignore[arg-type]
    assert rows(changed)[label].cells()[-1] == met


def test_acknowledgements_give_the_highest_rate_with_a_short_p99() -> None:
    late = ResponseTimes(0.0, [0.151] * 100)
    found = rows(replace(RESULTS, acknowledgements={80: ACKNOWLEDGED, 160: late}))
    assert (found["80/s: p99"].cells()[0], found["80/s: p99"].cells()[-1]) == ("1.0", "yes")
    assert found["80/s: p50"].target is None
    assert found["160/s: p99"].cells()[-1] == ""
    assert found["most a second with p99 ≤ 150 ms"].bridge == 80
    assert replace(RESULTS, acknowledgements={160: late}).highest_rate == 0


def test_a_short_measurement_of_acknowledgements_has_no_target() -> None:
    short = replace(ACKNOWLEDGED, seconds=ACKNOWLEDGED.seconds[-200:])
    assert rows(replace(RESULTS, acknowledgements={80: short}))["80/s: p99"].target is None


def test_a_bot_without_answers_has_the_time_never() -> None:
    silent = replace(BOT, voice=[replace(burst(), wrong=1)])
    found = rows(replace(RESULTS, sequential=silent))
    assert found["voice turn: text"].cells()[1] == "never"


def test_the_text_report_has_80_columns_and_the_markdown_report_the_same_rows() -> None:
    lines = as_text(RESULTS).splitlines()
    assert max(map(len, lines)) <= 80
    tables = as_markdown(RESULTS)
    for row in rows(RESULTS).values():
        assert f"| {row.label} | {' | '.join(row.cells())} |" in tables


def test_a_bot_that_was_not_measured_in_bursts_has_no_values_there() -> None:
    without_bursts = replace(RESULTS, sequential=replace(BOT, bursts={}))
    assert rows(without_bursts)["50 at once: worst text"].sequential is None
    assert rows(without_bursts)["memory, 200 at once, MB"].sequential is None


def test_writing_the_page_replaces_only_the_part_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"Before.\n\n{BEGIN}\nOld.\n{END}\n\nAfter.\n", encoding="utf-8")
    write_page(RESULTS, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"Before.\n\n{BEGIN}")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert as_markdown(RESULTS) in text
    assert "load average before: 0.4" in text
    assert "1.1 times as fast as at its slowest" in text
    assert "Old." not in text
    for name in ("turn.svg", "load.svg"):
        assert "</svg>" in (tmp_path / "performance" / name).read_text(encoding="utf-8")
