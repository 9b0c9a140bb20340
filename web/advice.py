"""What an operator can do about an error, and where."""

from __future__ import annotations

from core.errors import AgentError, BridgeError, MediaError, SendError, SpeechError
from web.handbook import bad_day
from whatsapp.error_codes import advice

UNEXPECTED = "unexpected; the log has the traceback"

# The provider that errors of a branch are about.
BRANCHES: dict[type[BridgeError], str] = {
    MediaError: "twilio",
    SendError: "twilio",
    AgentError: "salesforce",
    SpeechError: "elevenlabs",
}
TITLES = {"twilio": "Twilio", "salesforce": "Salesforce", "elevenlabs": "ElevenLabs"}


def error_classes(tree: type[BridgeError] = BridgeError) -> dict[str, type[BridgeError]]:
    """All classes of errors, by their names."""
    by_name = {tree.__name__: tree}
    for subclass in tree.__subclasses__():
        by_name |= error_classes(subclass)
    return by_name


def is_explained(kind: type) -> bool:
    """Whether docs/first-bad-day.md has an entry for this class: those of core/errors.py do."""
    return (
        issubclass(kind, BridgeError)
        and kind.__module__ == BridgeError.__module__
        and kind.advice != BridgeError.advice
    )


def provider_of(error: str) -> str:
    """The provider that an error of this class is about; empty if it is about none."""
    known = error_classes().get(error)
    found = (name for branch, name in BRANCHES.items() if known and issubclass(known, branch))
    return next(found, "")


def error_advice(error: str) -> dict[str, str]:
    """``advice``, half a sentence, and ``link``, which may be empty, for a class of errors."""
    known = error_classes().get(error)
    if not known:
        return {"advice": UNEXPECTED, "link": ""}
    # A leaf of another module is explained by its nearest ancestor.
    heading = next((each.__name__ for each in known.__mro__ if is_explained(each)), "Errors")
    return {"advice": known.advice, "link": bad_day(heading)}


def delivery_advice(code: str) -> dict[str, str]:
    """The same for Twilio's code of a message that was not delivered."""
    if not code.isdecimal():
        return {"advice": advice(None), "link": bad_day("Delivery errors")}
    return {
        "advice": advice(int(code)),
        "link": f"https://www.twilio.com/docs/api/errors/{code}",
    }
