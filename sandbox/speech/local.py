"""Real speech recognition and synthesis with local models."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from sandbox.speech import PACK_COMMAND, PACK_MISSING, Sound, Transcript, is_arabic, models
from sandbox.speech.espeak import EspeakProcess
from sandbox.speech.fixture import tone_for_text
from sandbox.speech.piper import PiperProcess
from sandbox.speech.tone import RATE
from sandbox.speech.whisper import Whisper

_ARABIC_TONE_HZ = 440
# Whisper reads it before it hears Arabic, and so knows the words of the help desk.
_ARABIC_PROMPT = (
    "مكتب مساعدة الفوترة الإلكترونية: فاتورة إلكترونية، شهادة التوقيع، الرقم الضريبي، رمز الضريبة، "
    "بوابة الفوترة، إشعار دائن، إلغاء الفاتورة، موظف."
)
# What tiny.en transcribes with a lower mean log probability (see Heard) is not English. Piper's
# English has -0.04 to -0.12, espeak-ng's Arabic less than -0.8.
_LEAST_CONFIDENCE = -0.8
_UNSURE = 0.3
# From this probability on, the language that Whisper base detects is taken.
_SURE = 0.5


class LocalSpeech:
    """Whisper (tiny.en) for recognition and Piper (voice ``joe``) for synthesis. English only.

    Other speech is transcribed as similar English words, with a ``hint`` that says what is missing.
    Arabic text becomes a tone as long as the speech would be. Call ``close`` at the end.
    """

    note = (
        "English is heard and spoken by small local models: 6 % of the words are wrong. "
        f"Arabic is hummed; “{PACK_COMMAND}” adds it."
    )

    def __init__(self, *, threads: int = 2) -> None:
        """Load the models, in about a second. Raises ``ModelsMissing``."""
        voice = _voice()
        self._english = Whisper(models.whisper(), threads=threads)
        self._piper = PiperProcess(voice=voice)

    def transcribe(self, pcm: bytes) -> Transcript:
        """Transcribe 16 kHz mono s16le PCM as English; the text is empty without speech."""
        heard = self._english.transcribe(pcm, "en", beam_size=1)
        if not heard.text:
            return Transcript("", probability=0.0)
        if heard.confidence < _LEAST_CONFIDENCE:
            return Transcript(heard.text, probability=_UNSURE, hint=PACK_MISSING)
        return Transcript(heard.text)

    def synthesize(self, text: str, language: str | None) -> Sound:
        """Speech for English, a tone for Arabic, 0.4 s of silence for a text without words."""
        if not any(character.isalnum() for character in text):
            return Sound(bytes(2 * RATE // 5), RATE)
        if language == "ar" or is_arabic(text):
            return self._read_arabic(text)
        # Piper reads text in double brackets as phonemes.
        return self._piper.synthesize(text.replace("[[", "[").replace("]]", "]"))

    def close(self) -> None:
        self._piper.close()

    def _read_arabic(self, text: str) -> Sound:
        return tone_for_text(text, _ARABIC_TONE_HZ)


class MultilingualSpeech(LocalSpeech):
    """Hears Arabic too, with Whisper base, and speaks it with espeak-ng.

    English stays with tiny.en, which hears it as well and also helps to tell the languages apart.
    """

    note = (
        "English and Arabic are heard and spoken by small local models. They are poor at Arabic: "
        "97 % of the words that espeak-ng speaks are heard wrong, 6 % of the English ones."
    )

    def __init__(self, *, threads: int = 2) -> None:
        """Load the models; the first time, join the parts of one. Raises ``ModelsMissing``."""
        self._multilingual = Whisper(models.multilingual_whisper(), threads=threads)
        self._espeak = EspeakProcess()
        super().__init__(threads=threads)

    def transcribe(self, pcm: bytes) -> Transcript:
        """Transcribe as Arabic or English; the text is empty without speech."""
        languages = self._multilingual.probabilities(pcm)
        if languages["ar"] >= _SURE:
            return self._transcribe_arabic(pcm)
        english = super().transcribe(pcm)
        # Whisper seldom recognises the language of synthetic Arabic, so this decides it.
        if english.hint and languages["en"] < _SURE:
            return self._transcribe_arabic(pcm)
        return replace(english, hint="")

    def close(self) -> None:
        super().close()
        self._espeak.close()

    def _transcribe_arabic(self, pcm: bytes) -> Transcript:
        heard = self._multilingual.transcribe(
            pcm,
            "ar",
            beam_size=5,
            initial_prompt=_ARABIC_PROMPT,
            # Without this, unclear speech becomes one word again and again.
            no_repeat_ngram_size=3,
        )
        return Transcript(heard.text, "ara", 0.9 if heard.text else 0.0)

    def _read_arabic(self, text: str) -> Sound:
        return self._espeak.synthesize(text)


def _voice() -> Path:
    if find_spec("piper") is None:
        raise models.ModelsMissing("piper-tts")
    return models.voice()
