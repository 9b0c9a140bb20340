"""What follows from measured turns: the limit, the figures and their marks, the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.arrivals import Answers
from bench.bursts import Burst
from bench.document import BEGIN, END, write
from bench.findings import Bot, Findings
from bench.limit import Limit
from bench.observed import Times
from bench.report import Row, markdown, printed, sections
from sandbox.latency import LatencyProfile

PACE = LatencyProfile(
    media=1.0, transcribe=2.0, session=0.5, ask=4.0, speak=0.3, speak_per_character=0.01, send=0.2
)
LIMIT = Limit(PACE, last_sentence=50)


def burst(*texts: float, wrong: int = 0, cpu: float = 0.05, memory: int = 100) -> Burst:
    return Burst(
        size=len(texts),
        times=[Times(text, text + 0.5) for text in texts],
        wrong=wrong,
        cpu_per_turn=cpu,
        most_memory=memory << 20,
        memory=90 << 20,
        spans=LIMIT.spans(),
    )


BOT = Bot(
    voice=[burst(7.2), burst(7.3), burst(9.0)],
    text=[burst(4.7)],
    bursts={50: [burst(7.3, 8.0), burst(7.3, 9.0), burst(7.3, 30.0)], 200: [burst(8.0, 14.6)]},
)
FINDINGS = Findings(LIMIT, BOT, BOT, {80: Answers(0.0, [0.001] * 4752 + [0.15] * 10 + [0.2] * 38)})


def rows(found: Findings) -> dict[str, Row]:
    return {row.label: row for section in sections(found) for row in section.rows}


def test_the_limit_waits_for_clouds_alone() -> None:
    assert LIMIT.text_turn == pytest.approx(4.0 + 0.2)
    assert LIMIT.voice_turn == pytest.approx(1.0 + 2.0 + 4.0 + 0.2)
    assert LIMIT.note_after_text == pytest.approx(0.3 + 50 * 0.01 - 0.2)


def test_the_limit_waits_for_a_session_that_starts_late() -> None:
    slow = Limit(replace(PACE, session=5.0), last_sentence=50)
    assert slow.voice_turn == pytest.approx(5.0 + 4.0 + 0.2)


def test_a_note_is_not_sent_before_its_text() -> None:
    assert Limit(replace(PACE, send=3.0), last_sentence=50).note_after_text == 0.0


def test_the_limits_stages_end_when_it_says() -> None:
    spans = {span.name: span for span in LIMIT.spans()}
    assert spans["text"].end == pytest.approx(LIMIT.voice_turn)
    assert spans["voice"].start - spans["text"].end == pytest.approx(LIMIT.note_after_text)


def test_single_turns_give_their_median_and_bursts_the_median_of_their_worst() -> None:
    found = rows(FINDINGS)
    assert found["voice turn: text"].bridge == 7.3
    assert found["voice turn: text ÷ limit"].bridge == pytest.approx(7.3 / 7.2)
    assert found["50 at once: worst text"].bridge == 9.0
    assert found["50 at once: worst text ÷ one turn's"].bridge == pytest.approx(9.0 / 7.3)
    assert found["50 at once: worst voice note"].bridge == 9.5


@pytest.mark.parametrize(
    ("label", "changed", "met"),
    [
        ("voice turn: text ÷ limit", {}, "yes"),
        ("voice turn: text ÷ limit", {"voice": [burst(7.5)]}, "no"),
        ("50 at once: worst text ÷ one turn's", {}, "yes"),
        ("50 at once: worst text ÷ one turn's", {"bursts": {50: [burst(9.5)]}}, "no"),
        ("200 at once: worst text ÷ one turn's", {}, "yes"),
        ("CPU a voice turn, 50 at once, ms", {}, "yes"),
        ("CPU a voice turn, 50 at once, ms", {"bursts": {50: [burst(9.5, cpu=0.071)]}}, "no"),
        ("memory, 200 at once, MB", {}, "yes"),
        ("memory, 200 at once, MB", {"bursts": {200: [burst(9.5, memory=401)]}}, "no"),
        ("turns lost, or not answered once", {}, "yes"),
        ("turns lost, or not answered once", {"text": [burst(1.0, wrong=1)]}, "no"),
    ],
)
def test_marks_are_met_or_not(label: str, changed: dict[str, list[Burst]], met: str) -> None:
    found = replace(FINDINGS, bridge=replace(BOT, **changed))  # type: ignore[arg-type]
    assert rows(found)[label].cells()[-1] == met


def test_acknowledgements_give_the_highest_rate_in_time() -> None:
    in_time = FINDINGS.acknowledgements[80]
    late = Answers(0.0, [0.151] * 100)
    found = rows(replace(FINDINGS, acknowledgements={80: in_time, 160: late}))
    assert (found["80/s: p99"].cells()[0], found["80/s: p99"].cells()[-1]) == ("1.0", "yes")
    assert found["80/s: p50"].mark is None
    assert found["160/s: p99"].cells()[-1] == ""
    assert found["most a second with p99 ≤ 150 ms"].bridge == 80
    few = replace(in_time, seconds=in_time.seconds[-200:])
    assert rows(replace(FINDINGS, acknowledgements={80: few}))["80/s: p99"].mark is None
    assert replace(FINDINGS, acknowledgements={160: late}).held == 0


def test_where_nobody_was_answered_it_says_never() -> None:
    lost = replace(BOT, voice=[replace(burst(), wrong=1)])
    found = replace(FINDINGS, sequential=lost)
    assert rows(found)["voice turn: text"].cells()[1] == "never"


def test_it_prints_80_columns_and_the_same_as_markdown() -> None:
    lines = printed(FINDINGS).splitlines()
    assert max(map(len, lines)) <= 80
    tables = markdown(FINDINGS)
    for row in rows(FINDINGS).values():
        assert f"| {row.label} | {' | '.join(row.cells())} |" in tables


def test_a_bot_that_was_not_measured_in_bursts_has_no_figures_there() -> None:
    alone = replace(FINDINGS, sequential=replace(BOT, bursts={}))
    assert rows(alone)["50 at once: worst text"].sequential is None
    assert rows(alone)["memory, 200 at once, MB"].sequential is None


def test_writing_changes_only_what_was_measured(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"Before.\n\n{BEGIN}\nOld.\n{END}\n\nAfter.\n", encoding="utf-8")
    write(FINDINGS, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"Before.\n\n{BEGIN}")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert markdown(FINDINGS) in text
    assert "Old." not in text
    for name in ("turn.svg", "load.svg"):
        assert "</svg>" in (tmp_path / "performance" / name).read_text(encoding="utf-8")
