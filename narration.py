"""An answer read aloud: one voice note from pieces that are spoken side by side."""

from __future__ import annotations

from concurrent.futures import Executor

from audio import Ffmpeg
from errors import NothingHeard
from markup import to_speech
from phrases import Phrases
from segments import first_sentences, group_sentences
from speech import Voice

# Speaking takes 0.25 s and 4 ms a character, so short pieces are ready sooner; more of them at
# once than this would eat up the small plans' allowance (contracts/elevenlabs.md §4.4).
PIECES_AT_ONCE = 4
SHORTEST_PIECE = 120


class Narrator:
    """Turns an agent's Markdown into the bytes of a voice note."""

    def __init__(
        self,
        *,
        speech: Voice,
        ffmpeg: Ffmpeg,
        phrases: Phrases,
        pool: Executor,
        longest: int,
    ) -> None:
        self._speech = speech
        self._ffmpeg = ffmpeg
        self._phrases = phrases
        self._pool = pool
        self._longest = longest

    def narrate(self, markdown: str, language: str | None) -> bytes:
        """A voice note of at most 512 KB (Ogg/Opus, mono).

        Text beyond ``longest`` characters is left to be read. Raises ``SpeechError`` or
        ``AudioError``.
        """
        words = self._shortened(to_speech(markdown), language)
        size = max(len(words) // PIECES_AT_ONCE, SHORTEST_PIECE)
        pieces = group_sentences(words, size)
        if not pieces:
            raise NothingHeard("the answer has no words to speak")
        spoken = [
            self._pool.submit(
                self._speech.speak,
                piece,
                language,
                previous=pieces[index - 1] if index else "",
                following=pieces[index + 1] if index + 1 < len(pieces) else "",
            )
            for index, piece in enumerate(pieces)
        ]
        note = self._ffmpeg.join([piece.result() for piece in spoken])
        return self._ffmpeg.fit_note(note)

    def _shortened(self, words: str, language: str | None) -> str:
        kept = first_sentences(words, self._longest)
        if kept == words:
            return words
        return f"{kept}\n{self._phrases.say('rest_in_text', language)}"
