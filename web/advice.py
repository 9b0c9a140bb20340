"""What an operator can do about an error, and where."""

from __future__ import annotations

from core.errors import AgentError, AudioError, BridgeError, MediaError, SendError, SpeechError
from whatsapp.error_codes import advice

UNEXPECTED = "unexpected; the log has the traceback"

# The provider that errors of a branch are about, and a page of its console.
BRANCHES: dict[type[BridgeError], str] = {
    MediaError: "twilio",
    SendError: "twilio",
    AgentError: "salesforce",
    SpeechError: "elevenlabs",
}
TITLES = {"twilio": "Twilio", "salesforce": "Salesforce", "elevenlabs": "ElevenLabs"}
# Where each provider says what is wrong with an account, and whether it is down.
CONSOLES = {
    "twilio": "https://console.twilio.com/us1/monitor/logs/debugger",
    "salesforce": "https://help.salesforce.com/s/articleView?id=ai.agent_api.htm",
    "elevenlabs": "https://elevenlabs.io/app/developers/api-keys",
}
STATUS_PAGES = {
    "twilio": "https://status.twilio.com",
    "salesforce": "https://status.salesforce.com",
    "elevenlabs": "https://status.elevenlabs.io",
}


def error_classes(tree: type[BridgeError] = BridgeError) -> dict[str, type[BridgeError]]:
    """All classes of errors, by their names."""
    by_name = {tree.__name__: tree}
    for subclass in tree.__subclasses__():
        by_name |= error_classes(subclass)
    return by_name


def provider_of(error: str) -> str:
    """The provider that an error of this class is about; empty if it is about none."""
    known = error_classes().get(error)
    found = (name for branch, name in BRANCHES.items() if known and issubclass(known, branch))
    return next(found, "")


def error_advice(error: str) -> dict[str, str]:
    """``advice``, half a sentence, and ``link``, which may be empty, for a class of errors."""
    known = error_classes().get(error)
    return {"advice": known.advice if known else UNEXPECTED, "link": error_link(error)}


def error_link(error: str) -> str:
    """The page where an operator goes on; empty if there is none."""
    known, provider = error_classes().get(error), provider_of(error)
    if not known or not provider or known.by_sender or issubclass(known, AudioError):
        return ""
    pages = STATUS_PAGES if known.provider_state == "failing" else CONSOLES
    return pages[provider]


def delivery_advice(code: str) -> dict[str, str]:
    """The same for Twilio's code of a message that was not delivered."""
    if not code.isdecimal():
        return {"advice": advice(None), "link": CONSOLES["twilio"]}
    return {
        "advice": advice(int(code)),
        "link": f"https://www.twilio.com/docs/api/errors/{code}",
    }
