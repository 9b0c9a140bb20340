"""The segments of a voice note: when they are spoken, for how long, and in which language."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from types import SimpleNamespace
from typing import cast

import pytest

from audio.ffmpeg import Ffmpeg
from core import deadline
from core.deadline import Deadline, remaining_time
from core.logs import ContextPool
from metrics import Metrics
from speech.synthesis import StreamingSynthesis
from tests.unit.executors import ImmediateExecutor
from text.phrases import Phrases

SENTENCE = "Your parcel left our warehouse in Cairo on Tuesday evening, at a quarter past nine. "
TURN_SECONDS = NOTE_SECONDS = 150.0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Speaker:
    """Records how much time there is for each segment, and its language."""

    available_slots = 8

    def __init__(self) -> None:
        self.seconds_left: list[float | None] = []
        self.spoken: list[tuple[str | None, str]] = []

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        self.seconds_left.append(remaining_time())
        self.spoken.append((language, text))
        return b"sound"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
def synthesis(speaker: Speaker) -> Iterator[StreamingSynthesis]:
    with ContextPool(1) as pool:
        yield synthesis_of(speaker, pool)


def synthesis_of(speaker: Speaker, pool: Executor) -> StreamingSynthesis:
    joining = SimpleNamespace(join=b"".join, fit_note=lambda note: note)
    return StreamingSynthesis(
        "en",
        speech=speaker,
        ffmpeg=cast(Ffmpeg, joining),
        phrases=Phrases(),
        metrics=Metrics(),
        pool=pool,
        max_characters=4000,
        segment_seconds=NOTE_SECONDS,
    )


def test_a_segment_has_the_time_of_the_note_however_late_the_agent_writes(
    clock: Clock, speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    with Deadline(TURN_SECONDS).applied():
        clock.now += 147.0
        synthesis.write(SENTENCE * 4)
        assert remaining_time() == 3.0
    assert synthesis.voice_note() == b"sound" * len(speaker.seconds_left)
    assert set(speaker.seconds_left) == {NOTE_SECONDS}


def test_so_does_what_is_left_at_the_end_of_the_answer(
    clock: Clock, speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    with Deadline(TURN_SECONDS).applied():
        clock.now += 147.0
        synthesis.finish(SENTENCE)
        assert remaining_time() == 3.0
    assert synthesis.voice_note() == b"sound"
    assert speaker.seconds_left == [NOTE_SECONDS]


def test_a_note_after_the_turn_has_no_more_time(
    clock: Clock, speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    with Deadline(NOTE_SECONDS).applied():
        synthesis.finish(SENTENCE)
        assert synthesis.voice_note() == b"sound"
    assert speaker.seconds_left == [NOTE_SECONDS]


# More characters than a segment, and nothing that tells their language.
NAMES = "Müller AB-12, Schmidt CD-34, García EF-56. " * 6
GERMAN = "Ihr Paket hat unser Lager am Dienstag verlassen und kommt am Freitag bei Ihnen an. "
ARABIC = "غادر طردك مستودعنا يوم الثلاثاء، وسيصلك يوم الجمعة إن شاء الله. "


def languages(speaker: Speaker) -> set[str | None]:
    return {language for language, _ in speaker.spoken}


def test_an_answer_is_spoken_in_its_own_language_and_not_the_senders(
    speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    synthesis.write(GERMAN * 4)
    synthesis.finish(GERMAN * 4)
    synthesis.voice_note()
    assert languages(speaker) == {"de"}


def test_nothing_is_spoken_before_the_language_is_certain(
    speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    """Names could be of any language; once sentences follow, all is spoken in theirs, once."""
    synthesis.write(NAMES)
    synthesis.write(NAMES)
    synthesis.write(GERMAN * 8)
    synthesis.finish(NAMES * 2 + GERMAN * 8)
    synthesis.voice_note()
    assert languages(speaker) == {"de"}
    assert " ".join(text for _, text in speaker.spoken) == (NAMES * 2 + GERMAN * 8).strip()


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("de", GERMAN),
        ("ar", ARABIC),
        ("zh", "您的包裹已于星期二晚上九点离开我们在开罗的仓库，预计星期五送达您的地址。"),
        ("zh", "您的包裹星期五会送达吗？我们已经通知了快递公司！"),
        ("ja", "お客様の荷物は火曜日の夜にカイロの倉庫を出発し、金曜日にご自宅に届く予定です。"),
        ("hi", "आपका पार्सल मंगलवार को हमारे गोदाम से निकल गया है और शुक्रवार को पहुँच जाएगा। "),
        ("ur", "آپ کا پارسل منگل کو ہمارے گودام سے روانہ ہو گیا ہے اور جمعہ کو پہنچ جائے گا۔ "),
    ],
)
def test_finished_sentences_are_spoken_while_the_agent_writes(
    speaker: Speaker, language: str, sentence: str
) -> None:
    """Chinese and Japanese have no blank behind a stop; each script has its own stops."""
    synthesis = synthesis_of(speaker, ImmediateExecutor())
    for character in sentence * 8:
        synthesis.write(character)
    assert {language} == languages(speaker)
    begun = "".join(text for _, text in speaker.spoken)
    assert (sentence * 8).replace(" ", "").startswith(begun.replace(" ", ""))
    assert len(begun) > len(sentence) * 2
    synthesis.finish(sentence * 8)
    spoken = "".join(text for _, text in speaker.spoken)
    assert spoken.replace(" ", "") == (sentence * 8).replace(" ", "")


def test_lines_are_spoken_while_the_agent_writes_and_only_once(speaker: Speaker) -> None:
    """Whether a line continues the one before it is known before either is spoken."""
    line = "The tickets for adults, which are valid on every day of the week, are: 2\n"
    answer = f"{line}450 euros are to be paid for them\nwhen you arrive at the castle\n" * 6
    sentences = (
        f"{line.strip()}. 450 euros are to be paid for them when you arrive at the castle. " * 6
    )
    synthesis = synthesis_of(speaker, ImmediateExecutor())
    for character in answer:
        synthesis.write(character)
    assert len(speaker.spoken) > 1
    synthesis.finish(answer)
    assert " ".join(text for _, text in speaker.spoken) == sentences.strip()


def test_an_answer_that_tells_no_language_is_spoken_in_the_senders(
    speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    synthesis.write(NAMES)
    synthesis.finish(NAMES)
    synthesis.voice_note()
    assert languages(speaker) == {"en"}


def test_a_part_in_another_language_is_spoken_in_that(
    speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    synthesis.write(SENTENCE * 4)
    synthesis.finish(f"{SENTENCE * 4}\n\n{ARABIC * 4}")
    synthesis.voice_note()
    assert languages(speaker) == {"en", "ar"}
    assert all(("غادر" in text) == (language == "ar") for language, text in speaker.spoken)


def test_an_end_that_tells_no_language_is_spoken_in_that_of_the_answer(
    speaker: Speaker, synthesis: StreamingSynthesis
) -> None:
    synthesis.finish(GERMAN * 4 + NAMES)
    synthesis.voice_note()
    assert languages(speaker) == {"de"}
    assert any("Müller" in text and "Paket" not in text for _, text in speaker.spoken)
