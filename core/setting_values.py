"""Checks for the values of settings, according to the providers (docs/providers/).

Each check returns the value, perhaps in another form, or raises ``ValueError``. The message of the
error continues a sentence that begins with the name of the setting.
"""

from __future__ import annotations

import re
import shutil
import ssl
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from core.phone_numbers import NUMBER, whatsapp_address

_HOST_AND_PORT = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]+)?")
_KEY = re.compile(r"[!-~]+")
_CONTACTS = (
    # A phone number as people write it, with 3 to 15 digits.
    re.compile(r"\+?(?:[0-9][ ()./-]{0,2}){2,14}[0-9]|\+?\([0-9]{1,5}\)(?:[ ./-]?[0-9]){2,14}"),
    re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,63}"),
    re.compile(r"https?://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:[/?#][!-~]{0,200})?"),
)
# ElevenLabs' ids of voices; their names are of any kind.
_VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")
_AGENT_ID = re.compile(r"0Xx[A-Za-z0-9]{12}([A-Za-z0-9]{3})?")
# Endings of hosts that people see in their browser, and those of the same org's My Domain.
_BROWSER_HOSTS = {
    ".lightning.force.com": ".my.salesforce.com",
    ".my.salesforce-setup.com": ".my.salesforce.com",
}
# What follows postgres://; a password ends at the first @.
_DATABASE = re.compile(r"([^:/]*(:[^@]*)?@)?[^@]*")
QUOTES = "\"'`"
# With more keyterms, a transcription is billed as at least 20 s of audio
# (docs/providers/elevenlabs.md, "Speech to text").
_MAX_KEYTERMS = 100
_MAX_KEYTERM_CHARACTERS = 49
_MAX_KEYTERM_WORDS = 5
# The domains of Salesforce for people; the API and its tokens have other hosts.
_SALESFORCE_DOMAINS = (
    "salesforce.com",
    "force.com",
    "my.site.com",
    "salesforce-setup.com",
    "salesforce-sites.com",
)


def web_address(value: str) -> str:
    """A web address; without a scheme it becomes https, and slashes at its end are removed."""
    value = value.rstrip("/")
    if value and "://" not in value:
        value = f"https://{value}"
    try:
        parts = urlsplit(value)
        # "https://" alone has become "https://https:" by now, with an empty port.
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
    """A web address that Twilio accepts for its callbacks (docs/providers/twilio.md, "Sending")."""
    value = web_address(value)
    if "_" in _host(value):
        raise ValueError(
            "must have no underscore in its host, or Twilio refuses every message (error 21609)"
        )
    return value


def is_reachable(address: str) -> bool:
    """Whether Twilio, which is on the internet, can reach an https address."""
    parts = urlsplit(address)
    host = _host(address)
    try:
        known = ip_address(host).is_global
    except ValueError:
        known = "." in host and not host.endswith((".localhost", ".local", ".internal"))
    return parts.scheme == "https" and known


def is_twilio(address: str) -> bool:
    """Whether this is an address of Twilio, and not of what stands for it in a test."""
    return f".{_host(address)}".endswith(".twilio.com")


def port(value: str) -> str:
    """The number of a port to listen on; 0 is any free one. May be empty."""
    if value and not (value.isascii() and value.isdecimal() and int(value) < 65536):
        raise ValueError("must be a number up to 65535")
    return value


def program(value: str) -> str:
    """The path of a program; a bare name is searched for as a shell does. May be empty."""
    found = shutil.which(value) if value else ""
    if found is None:
        raise ValueError("is no program that can be run here")
    return found


def certificates(value: str) -> str:
    """The path of a file with certificate authorities, in PEM. May be empty."""
    try:
        if value:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    # An ``SSLError`` is an ``OSError``.
    except OSError as error:
        was_read = isinstance(error, ssl.SSLError)
        problem = "has no certificates in PEM" if was_read else "cannot be read"
        raise ValueError(f"names a file that {problem}") from None
    return value


def host_address(value: str) -> str:
    """A web address without a path, because the service adds paths."""
    value = web_address(value)
    if urlsplit(value).path:
        raise ValueError("must end with its host, without a path")
    return value


def elevenlabs_address(value: str) -> str:
    """A web address without /v1, because the service adds paths that begin with it."""
    value = web_address(value)
    if "/v1" in urlsplit(value).path:
        raise ValueError("must not hold /v1, which is added to it")
    return value


def my_domain(value: str) -> str:
    """The address of a My Domain; other hosts of Salesforce issue no tokens.

    Addresses from the browser, of Lightning or Setup, become that of their org's My Domain.
    docs/providers/agentforce.md, "Addresses".
    """
    value = host_address(_my_domain_of(value))
    host = _host(value)
    if _is_salesforce_host(host):
        if not host.endswith(".my.salesforce.com"):
            raise ValueError("must be the My Domain of your org, which ends in .my.salesforce.com")
        if not value.lower().startswith("https:"):
            raise ValueError("must begin with https://")
    return value


def agent_id(value: str) -> str:
    """The id of an agent, which is not that of its version, and not its name."""
    if value.startswith("0X9"):
        raise ValueError("is the id of a version of the agent; the agent's own begins with 0Xx")
    if not _AGENT_ID.fullmatch(value):
        raise ValueError("must be an id that begins with 0Xx")
    return value


def voice_id(value: str) -> str:
    """The id of a voice at ElevenLabs."""
    if not _VOICE_ID.fullmatch(value):
        raise ValueError("must be the voice's id, of 20 letters and digits, and not its name")
    return value


def agent_api_address(value: str) -> str:
    """The address of the Agent API, which is never a My Domain; may be empty."""
    if not value:
        return value
    value = host_address(value)
    host = _host(value)
    if _is_salesforce_host(host) and "api" not in host.split("."):
        raise ValueError("must be a host of the API, not one of My Domain")
    return value


def key(value: str) -> str:
    """A secret of a provider, which is sent in headers."""
    if not _KEY.fullmatch(value) or value[0] in QUOTES or value[-1] in QUOTES:
        raise ValueError("must be pasted alone: without quotes, blanks and signs beyond ASCII")
    return value


def whatsapp_number(value: str) -> str:
    """The address of our WhatsApp sender, which is a phone number."""
    with suppress(ValueError):
        address = whatsapp_address(value)
        if NUMBER.fullmatch(address):
            return address
    raise ValueError("must be whatsapp:+ and the number with its country code")


def contact(value: str) -> str:
    """A phone number, an e-mail address or a link, which is sent to customers; may be empty."""
    if value and not any(pattern.fullmatch(value) for pattern in _CONTACTS):
        raise ValueError("must be a phone number, an e-mail address or a link, and nothing else")
    return value


def senders(values: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses of WhatsApp users; phone numbers as people write them become addresses."""
    try:
        return tuple(whatsapp_address(value) for value in values)
    except ValueError:
        raise ValueError("must name each sender as Twilio does, with whatsapp: before it") from None


def hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_HOST_AND_PORT.fullmatch(value) for value in values):
        raise ValueError("must be names of hosts in lower case, without https:// and paths")
    return values


def keyterms(values: tuple[str, ...]) -> tuple[str, ...]:
    """Terms that transcripts spell as written."""
    if len(values) > _MAX_KEYTERMS:
        raise ValueError(f"must be {_MAX_KEYTERMS} terms at most")
    if any(len(term) > _MAX_KEYTERM_CHARACTERS for term in values):
        raise ValueError(f"must be terms of {_MAX_KEYTERM_CHARACTERS} characters at most")
    if any(len(term.split()) > _MAX_KEYTERM_WORDS for term in values):
        raise ValueError(f"must be terms of {_MAX_KEYTERM_WORDS} words at most")
    if any(set(term) & set("<>{}[]\\") or not term.isprintable() for term in values):
        raise ValueError("must not hold any of < > { } [ ] \\ or control characters")
    return values


def postgres_address(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if value and (scheme not in ("postgres", "postgresql") or not rest):
        raise ValueError("must begin with postgres://")
    if not _DATABASE.fullmatch(rest):
        # The rest of the password would be taken for the host, and shown as such.
        raise ValueError(
            "has an @ in its host: the special characters of its password must be percent-encoded, "
            "@ as %40"
        )
    return f"postgresql{separator}{rest}" if value else ""


def _my_domain_of(value: str) -> str:
    """The My Domain of an org whose address in the browser this is; others are only checked."""
    # Pages have paths, queries and fragments.
    bare = web_address(re.split(r"[?#]", value)[0])
    host = _host(bare)
    for ending, replacement in _BROWSER_HOSTS.items():
        if host.endswith(ending):
            return f"https://{host.removesuffix(ending)}{replacement}"
    return web_address(value)


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "").rstrip(".")


def _is_salesforce_host(host: str) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in _SALESFORCE_DOMAINS)
