"""``python -m sandbox.speech.word_error_rate ar``: how well the local models hear what they say.

Each sentence of ``sentences.toml`` is spoken, encoded as a voice note and transcribed. Compared
are lower-case letters and digits without diacritics, hamza and punctuation; ى counts as ي, ة as ه.
"""

from __future__ import annotations

import argparse
import contextlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from rapidfuzz.distance import Levenshtein

from sandbox.agentforce.helpdesk import Helpdesk
from sandbox.agentforce.wording import normalise
from sandbox.speech import Speech, Transcript
from sandbox.speech.codec import Codec
from sandbox.speech.local import LocalSpeech, MultilingualSpeech

SENTENCES = Path(__file__).with_name("sentences.toml")
CODES = {"en": "eng", "ar": "ara"}


@dataclass(frozen=True)
class Errors:
    """What is wrong in transcripts, in words and characters, of how many that were said."""

    words: int = 0
    of_words: int = 0
    characters: int = 0
    of_characters: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.words + other.words,
            self.of_words + other.of_words,
            self.characters + other.characters,
            self.of_characters + other.of_characters,
        )

    def __str__(self) -> str:
        words, characters = self.words / self.of_words, self.characters / self.of_characters
        return f"word error rate {words:.0%}, character error rate {characters:.0%}"


def compare(said: str, heard: str) -> Errors:
    """Insertions, deletions and substitutions; many insertions give rates above 100 %."""
    said, heard = normalise(said), normalise(heard)
    return Errors(
        Levenshtein.distance(said.split(), heard.split()),
        len(said.split()),
        Levenshtein.distance(said, heard),
        len(said),
    )


def main() -> None:
    arguments = _arguments()
    sentences = tomllib.loads(SENTENCES.read_text("utf-8"))[arguments.language]
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    kind = LocalSpeech if arguments.without_pack else MultilingualSpeech
    with contextlib.closing(kind()) as speech:
        heard = {
            said: _hear(said, speech, codec, arguments.language)
            for said in sentences["questions"] + sentences["answers"]
        }
    _report(heard, sentences["questions"], CODES[arguments.language])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.speech.word_error_rate")
    parser.add_argument("language", choices=sorted(CODES))
    parser.add_argument("--without-pack", action="store_true", help="use the English models only")
    return parser.parse_args()


def _hear(said: str, speech: Speech, codec: Codec, language: str) -> Transcript:
    """What is heard when ``said`` is spoken; both are printed."""
    note = codec.encode(speech.synthesize(said, language), "opus_48000_32")
    transcript = speech.transcribe(codec.decode(note))
    print(f"{said}\n    {transcript.language} {transcript.text}", flush=True)
    return transcript


def _report(heard: dict[str, Transcript], questions: Iterable[str], code: str) -> None:
    errors = sum((compare(said, each.text) for said, each in heard.items()), Errors())
    taken = sum(each.language == code for each in heard.values())
    helpdesk = Helpdesk()
    answers = [(_answer(helpdesk, each), _answer(helpdesk, heard[each].text)) for each in questions]
    right = sum(expected == answer for expected, answer in answers)
    print(f"{len(heard)} sentences, {errors.of_words} words: {errors}.")
    print(f"The language was recognised in {taken} of {len(heard)}.")
    print(f"{right} of {len(answers)} questions found the right answer.")


def _answer(helpdesk: Helpdesk, question: str) -> Any:
    """What the help desk says to ``question`` in a new conversation."""
    messages = helpdesk.answer("", question)
    helpdesk.forget("")
    return messages


if __name__ == "__main__":
    main()
