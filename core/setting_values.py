"""What values settings may have: those that the providers can work with (docs/providers/).

Each check returns the value, or raises ``ValueError`` with what follows the setting's name.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# A phone number in E.164, and a user who hides it (docs/providers/twilio.md, "Sender addresses").
_NUMBER = r"whatsapp:\+[1-9][0-9]{6,14}"
_SENDER = re.compile(rf"{_NUMBER}|whatsapp:[A-Z]{{2}}\.(ENT\.)?[A-Za-z0-9]{{1,128}}")
_PLACE = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]+)?")
_KEY = re.compile(r"[!-~]+")
_CONTACTS = (
    # A phone number as people write it, with 3 to 15 digits.
    re.compile(r"\+?(?:[0-9][ ()./-]{0,2}){2,14}[0-9]|\+?\([0-9]{1,5}\)(?:[ ./-]?[0-9]){2,14}"),
    re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,63}"),
    re.compile(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?#][!-~]{0,200})?"),
)
QUOTES = "\"'`"
# Of a transcription; more are billed as 20 s of audio at least
# (docs/providers/elevenlabs.md, "Speech to text").
_MOST_KEYTERMS = 100
_LONGEST_KEYTERM = 49
_MOST_KEYTERM_WORDS = 5
# Where Salesforce shows itself to people; the API and its tokens are elsewhere.
_SALESFORCE = (
    "salesforce.com",
    "force.com",
    "my.site.com",
    "salesforce-setup.com",
    "salesforce-sites.com",
)


def web_address(value: str) -> str:
    value = value.rstrip("/")
    if value and "://" not in value:
        value = f"https://{value}"
    try:
        parts = urlsplit(value)
        # "https://" alone, once its slashes are gone, is a host of that name.
        odd = parts.port == 0 or "@" in parts.netloc or parts.netloc.endswith(":")
    except ValueError:
        # Its message may repeat the value.
        raise ValueError("is not a web address") from None
    odd |= not value.isprintable() or any(sign in value for sign in f" \\<>{QUOTES}")
    if parts.scheme not in ("http", "https") or not parts.hostname or odd:
        raise ValueError("is not a web address")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or a fragment")
    return value


def public_address(value: str) -> str:
    """One that Twilio takes for its callbacks (docs/providers/twilio.md, "Sending")."""
    value = web_address(value)
    if "_" in _host(value):
        raise ValueError(
            "must have no underscore in its host, or Twilio refuses every message (error 21609)"
        )
    return value


def host_address(value: str) -> str:
    """One to which paths are added."""
    value = web_address(value)
    if urlsplit(value).path:
        raise ValueError("must end with its host, without a path")
    return value


def elevenlabs_address(value: str) -> str:
    """One to which paths that begin with /v1 are added."""
    value = web_address(value)
    if "/v1" in urlsplit(value).path:
        raise ValueError("must not hold /v1, which is added to it")
    return value


def my_domain(value: str) -> str:
    """One that gives tokens; others of Salesforce do not.

    docs/providers/agentforce.md, "Addresses".
    """
    value = host_address(value)
    host = _host(value)
    if _is_salesforces(host):
        if not host.endswith(".my.salesforce.com"):
            raise ValueError("must be the My Domain of your org, which ends in .my.salesforce.com")
        if not value.lower().startswith("https:"):
            raise ValueError("must begin with https://")
    return value


def agent_api_address(value: str) -> str:
    """One of the Agent API, never My Domain; or none."""
    if not value:
        return value
    value = host_address(value)
    host = _host(value)
    if _is_salesforces(host) and "api" not in host.split("."):
        raise ValueError("must be a host of the API, not one of My Domain")
    return value


def key(value: str) -> str:
    """A secret of a provider, which goes into headers."""
    if not _KEY.fullmatch(value) or value[0] in QUOTES or value[-1] in QUOTES:
        raise ValueError("must be pasted alone: without quotes, blanks and signs beyond ASCII")
    return value


def whatsapp_number(value: str) -> str:
    """Our own sender: a phone number."""
    address = f"whatsapp:{value}" if value.startswith("+") else value
    if not re.fullmatch(_NUMBER, address):
        raise ValueError("must be whatsapp:+ and the number with its country code, digits only")
    return address


def contact(value: str) -> str:
    """A phone number, an e-mail address or a link, which senders are told; or none."""
    if value and not any(pattern.fullmatch(value) for pattern in _CONTACTS):
        raise ValueError("must be a phone number, an e-mail address or a link, and nothing else")
    return value


def senders(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_SENDER.fullmatch(value) for value in values):
        raise ValueError("must name each sender as Twilio does, with whatsapp: before it")
    return values


def hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_PLACE.fullmatch(value) for value in values):
        raise ValueError("must be names of hosts in lower case, without https:// and paths")
    return values


def keyterms(values: tuple[str, ...]) -> tuple[str, ...]:
    """Words and names that a transcription is to spell like that."""
    if len(values) > _MOST_KEYTERMS:
        raise ValueError(f"must be {_MOST_KEYTERMS} terms at most")
    if any(len(term) > _LONGEST_KEYTERM for term in values):
        raise ValueError(f"must be terms of {_LONGEST_KEYTERM} characters at most")
    if any(len(term.split()) > _MOST_KEYTERM_WORDS for term in values):
        raise ValueError(f"must be terms of {_MOST_KEYTERM_WORDS} words at most")
    if any(set(term) & set("<>{}[]\\") or not term.isprintable() for term in values):
        raise ValueError("must not hold any of < > { } [ ] \\ or control characters")
    return values


def postgres_address(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if value and (scheme not in ("postgres", "postgresql") or not rest):
        raise ValueError("must begin with postgres://")
    return f"postgresql{separator}{rest}" if value else ""


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "").rstrip(".")


def _is_salesforces(host: str) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in _SALESFORCE)
