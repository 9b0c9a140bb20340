"""All settings, typed, and checked once at the start.

They are environment variables. No other module reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import structlog
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core import setting_values
from core.errors import SettingsError
from core.setting_names import RENAMED, find_misspelt

log = structlog.get_logger(__name__)

# The places where an operator finds the values of settings.
WHERE = {
    "TWILIO_ACCOUNT_SID": "Twilio Console, Account Info; it begins with AC",
    "TWILIO_AUTH_TOKEN": "Twilio Console, Account Info; the primary token",
    "TWILIO_SHARED_KEY": "what Twilio showed as the secret when the webhook shared key was made",
    "TWILIO_WHATSAPP_FROM": "Twilio Console, Messaging > Senders; like whatsapp:+14155238886",
    "AGENTFORCE_AGENT_ID": (
        "the last part of the agent's address in Salesforce Setup > Agentforce Agents; "
        "15 or 18 characters that begin with 0Xx"
    ),
    "SALESFORCE_CONSUMER_KEY": "Salesforce Setup > External Client App Manager > your app > OAuth",
    "SALESFORCE_CONSUMER_SECRET": "next to the consumer key",
    "SALESFORCE_INSTANCE_URL": (
        "Salesforce Setup > My Domain; like https://acme.my.salesforce.com"
    ),
    "ELEVENLABS_API_KEY": "elevenlabs.io > Developers > API Keys",
    "ELEVENLABS_VOICE_ID": "elevenlabs.io > Voices > your voice > Copy voice ID",
    "PUBLIC_URL": (
        "the https:// address under which Twilio reaches this service; on Heroku, "
        "`heroku labs:enable runtime-dyno-metadata` provides it instead"
    ),
    "REQUESTS_CA_BUNDLE": "leave it out, for the usual authorities are known; a file in PEM",
    "SSL_CERT_FILE": "leave it out, for the usual authorities are known; a file in PEM",
    "PORT": "leave it out on Heroku, which sets it; like 8000",
    "FFMPEG_PATH": "leave it out, for requirements.txt brings an ffmpeg; like /usr/bin/ffmpeg",
    "HANDOFF_CONTACT": "like +1 415 555 0100, help@acme.com or https://acme.com/contact",
    "ALLOWED_SENDERS": "as From in Twilio Console > Monitor > Logs; like whatsapp:+14155550000",
    "TWILIO_API_URL": "leave it out, but for a region; like https://api.dublin.ie1.twilio.com",
    "TWILIO_MESSAGING_URL": "leave it out; like https://messaging.twilio.com",
    "TWILIO_MEDIA_HOSTS": "leave it out; like mms.twiliocdn.com, media.twiliocdn.com",
    "AGENTFORCE_API_URL": (
        "leave it out, for Salesforce names it with each token; like https://api.salesforce.com"
    ),
    "ELEVENLABS_API_URL": (
        "leave it out, but for data residency; like https://api.eu.residency.elevenlabs.io"
    ),
    "ELEVENLABS_STT_MODEL": "elevenlabs.io > Docs > Models; like scribe_v2",
    "ELEVENLABS_TTS_MODEL": "elevenlabs.io > Docs > Models; like eleven_flash_v2_5",
    "STT_KEYTERMS": "names that your customers say; like Acme Router 5, FiberPlus",
}


def is_public_url(address: str) -> bool:
    """Whether a web address may be reached from other machines."""
    host = (urlsplit(address).hostname or "").rstrip(".")
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _pattern(pattern: str, expectation: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(expectation)
        return value

    return AfterValidator(check)


def _split_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Required = Annotated[str, Field(min_length=1)]
Secret = Annotated[str, Field(min_length=1, repr=False)]
Key = Annotated[Secret, AfterValidator(setting_values.key)]
HostAddress = Annotated[str, AfterValidator(setting_values.host_address)]
ModelName = Annotated[str, _pattern(r"[A-Za-z0-9_.-]+", "must be the name of a model")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Bytes = Annotated[int, Field(ge=0)]
Limit = Annotated[int, Field(ge=0)]
Price = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]

CERTIFICATE_FILES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


class Account(BaseSettings):
    """The settings that a program needs to write to the service as Twilio does, and to watch it."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        frozen=True,
        extra="ignore",
    )

    TWILIO_ACCOUNT_SID: Annotated[
        str, _pattern(r"AC[0-9a-fA-F]{32}", "must be AC and 32 digits or letters from a to f")
    ]
    TWILIO_AUTH_TOKEN: Key
    TWILIO_WHATSAPP_FROM: Annotated[Required, AfterValidator(setting_values.whatsapp_number)]
    PUBLIC_URL: Annotated[str, AfterValidator(setting_values.public_address)]
    TWILIO_API_URL: HostAddress = "https://api.twilio.com"
    METRICS_TOKEN: Annotated[str, Field(repr=False)] = ""
    HEROKU_APP_DEFAULT_DOMAIN_NAME: str = ""
    HEROKU_APP_NAME: str = ""
    # Either may name a file of certificate authorities; all clients use it.
    REQUESTS_CA_BUNDLE: str = ""
    SSL_CERT_FILE: str = ""

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, given: dict[str, object]) -> dict[str, object]:
        """Strip all values, and derive settings that follow from others."""
        stripped = {
            name: value.strip() if isinstance(value, str) else value
            for name, value in given.items()
        }
        values = {name: value for name, value in stripped.items() if value != ""}
        domain = values.get("HEROKU_APP_DEFAULT_DOMAIN_NAME") or _full_domain(values)
        if domain:
            values.setdefault("PUBLIC_URL", domain)
        if "HEROKU_RELEASE_VERSION" in values:
            values.setdefault("RELEASE", values["HEROKU_RELEASE_VERSION"])
        if "TWILIO_API_URL" in values:
            values.setdefault("TWILIO_MESSAGING_URL", values["TWILIO_API_URL"])
        return values

    @field_validator(*CERTIFICATE_FILES)
    @classmethod
    def _check_certificates(cls, given: str, others: ValidationInfo) -> str:
        # The second one is not read if the first one is given, even if that is wrong.
        is_used = others.field_name == "REQUESTS_CA_BUNDLE" or not others.data.get(
            "REQUESTS_CA_BUNDLE", "wrong"
        )
        return setting_values.certificates(given) if is_used else given


class Settings(Account):
    """All settings. Durations are in seconds, and sizes in bytes."""

    # Without it the service starts, says what to set, and refuses all webhooks, because the address
    # of a new Heroku app is not known before it runs. No request may tell it.
    PUBLIC_URL: Annotated[
        str, AfterValidator(lambda address: address and setting_values.public_address(address))
    ] = ""

    # Twilio
    # The secret of a shared key, if Twilio signs webhooks with one.
    TWILIO_SHARED_KEY: Annotated[
        str, Field(repr=False), AfterValidator(lambda key: key and setting_values.key(key))
    ] = ""
    TWILIO_MESSAGING_URL: HostAddress = "https://messaging.twilio.com"
    # Hosts that a recording may be redirected to (docs/providers/twilio.md, "Recordings").
    TWILIO_MEDIA_HOSTS: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split_list),
        AfterValidator(setting_values.hosts),
    ] = (
        "mms.twiliocdn.com",
        "media.twiliocdn.com",
        "s3-external-1.amazonaws.com",
    )

    # Salesforce Agentforce
    AGENTFORCE_AGENT_ID: Annotated[str, AfterValidator(setting_values.agent_id)]
    SALESFORCE_CONSUMER_KEY: Key
    SALESFORCE_CONSUMER_SECRET: Key
    SALESFORCE_INSTANCE_URL: Annotated[str, AfterValidator(setting_values.my_domain)]
    # If empty, the address that comes with the token is used
    # (docs/providers/agentforce.md, "Token").
    AGENTFORCE_API_URL: Annotated[str, AfterValidator(setting_values.agent_api_address)] = ""
    AGENTFORCE_STREAMING: bool = True
    # The API documents no idle limit; other clients use 30 minutes
    # (docs/providers/agentforce.md, "Session lifetime").
    AGENTFORCE_SESSION_IDLE: Seconds = 1800
    # Sessions that each process that runs turns keeps ready for senders without one.
    AGENTFORCE_SPARE_SESSIONS: Annotated[int, Field(ge=0)] = 1

    # ElevenLabs
    ELEVENLABS_API_KEY: Key
    ELEVENLABS_VOICE_ID: Annotated[str, AfterValidator(setting_values.voice_id)]
    ELEVENLABS_API_URL: Annotated[str, AfterValidator(setting_values.elevenlabs_address)] = (
        "https://api.elevenlabs.io"
    )
    ELEVENLABS_STT_MODEL: ModelName = "scribe_v2"
    ELEVENLABS_TTS_MODEL: ModelName = "eleven_flash_v2_5"
    # Parallel requests of a kind, until a response of ElevenLabs says what the plan allows.
    ELEVENLABS_CONCURRENCY: Count = 10
    STT_MIN_CONFIDENCE: Annotated[float, Field(ge=0, le=1)] = 0.5
    # Terms, such as product names, that transcripts spell as written. They cost a fifth more.
    STT_KEYTERMS: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split_list),
        AfterValidator(setting_values.keyterms),
    ] = ()
    # The memory of each process for synthesised audio, so that repeated text is not paid for again.
    SPEECH_CACHE_BYTES: Bytes = 16 * 1024 * 1024

    # The service itself
    HEROKU_RELEASE_VERSION: str = ""
    # The release that the dashboard shows.
    RELEASE: str = ""
    FFMPEG_PATH: Annotated[str, AfterValidator(setting_values.program)] = ""
    # The folder of the SQLite file.
    STATE_DIR: Required = ".state"
    # A PostgreSQL database that web and worker processes share, instead of the SQLite file.
    # Heroku's postgres:// addresses are accepted.
    DATABASE_URL: Annotated[
        str, Field(repr=False), AfterValidator(setting_values.postgres_address)
    ] = ""
    # How long transcripts, answers and phone numbers are stored.
    RETENTION_HOURS: Seconds = 24

    # The conversation
    VOICE_REPLIES: Annotated[Literal["mirror", "always", "never"], BeforeValidator(_lower)] = (
        "mirror"
    )
    TRANSCRIPT_ECHO: bool = False
    DEFAULT_LANGUAGE: Required = "en"
    # Where senders reach a person, if the agent hands over: a phone number, an e-mail address or a
    # link.
    HANDOFF_CONTACT: Annotated[str, AfterValidator(setting_values.contact)] = ""
    VOICE_NOTE_MAX_SECONDS: Seconds = 300
    # About 4.5 minutes of speech, which fits into 512 KB at 15 kbit/s.
    SPEECH_MAX_CHARACTERS: Count = 4000
    STILL_WORKING_AFTER: Seconds = 12
    # From the start of a turn to its answer, or to the apology.
    TURN_DEADLINE: Seconds = 150
    # After so many failed calls in a row a provider is not called for a while; 0 turns this off.
    BREAKER_FAILURES: Limit = 5
    # All timeouts of providers, and the pauses between retries, are multiplied by this.
    PROVIDER_TIMEOUT_FACTOR: Annotated[
        Factor, Field(validation_alias=AliasChoices("PROVIDER_TIMEOUT_FACTOR", "CLOUD_PATIENCE"))
    ] = 1

    # How long answers to public questions are cached; 0 means not at all.
    ANSWER_CACHE_SECONDS: Annotated[float, Field(ge=0)] = 0
    # Public questions: the first of each session, and those that match a line of this file.
    ANSWER_CACHE_FIRST: bool = False
    ANSWER_CACHE_PATTERNS: str = ""
    # The senders that are served, as Twilio names them; empty means everybody.
    ALLOWED_SENDERS: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_split_list),
        AfterValidator(setting_values.senders),
    ] = ()
    # Accepted messages; 0 means no limit.
    SENDER_TURNS_PER_MINUTE: Limit = 20
    SENDER_TURNS_PER_DAY: Limit = 200
    TURNS_PER_MINUTE: Limit = 0

    # What the providers charge, for the costs on the dashboard. Without a price, only amounts show.
    CURRENCY: Annotated[str, _pattern(r"[A-Z]{3}", "must be a code of three letters")] = "USD"
    PRICE_PER_1000_CREDITS: Price = None
    PRICE_PER_TRANSCRIBED_HOUR: Price = None
    PRICE_PER_QUESTION: Price = None
    PRICE_PER_CONVERSATION: Price = None
    PRICE_PER_MESSAGE: Price = None

    # The process
    TURN_THREADS: Count = 200
    INBOX_LIMIT: Count = 5000
    # Open connections, fetch the token and start spare sessions before a message comes.
    KEEP_WARM: bool = True
    # Allow debuggers and profilers of the same user to read the process (core/core_dumps.py).
    DUMPABLE: bool = False
    # Where gunicorn listens; gunicorn.conf.py reads it itself, before there are settings.
    PORT: Annotated[str, AfterValidator(setting_values.port)] = ""
    LOG_LEVEL: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = (
        "INFO"
    )
    LOG_FORMAT: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = "text"
    # For the sandbox: accept unsigned webhooks from this machine.
    UNSIGNED_LOCAL_WEBHOOKS: bool = False

    @field_validator("STT_KEYTERMS")
    @classmethod
    def _check_keyterms_model(
        cls, given: tuple[str, ...], others: ValidationInfo
    ) -> tuple[str, ...]:
        if given and others.data.get("ELEVENLABS_STT_MODEL", "").startswith("scribe_v1"):
            raise ValueError("needs scribe_v2 or a later model in ELEVENLABS_STT_MODEL")
        return given

    @field_validator("UNSIGNED_LOCAL_WEBHOOKS")
    @classmethod
    def _check_unsigned_is_local(cls, given: bool, others: ValidationInfo) -> bool:
        # A router on the same machine would make every request a local one. A wrong address is
        # not there; it has an error of its own.
        address = others.data.get("PUBLIC_URL")
        if (
            given
            and address is not None
            and (is_public_url(address) or urlsplit(address).scheme != "http")
        ):
            raise ValueError(
                "is for a sandbox on this machine only; remove it, or let PUBLIC_URL be like "
                "http://127.0.0.1:8000"
            )
        return given


def ffmpeg_environment() -> dict[str, str]:
    """The environment for the operator's ffmpeg: the search paths, and no secrets."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}


AnyAccount = TypeVar("AnyAccount", bound=Account)


def load_settings() -> Settings:
    """Read the environment.

    Raises ``SettingsError`` with one sentence that names each missing or wrong setting and says
    where to find it; values are never repeated, for some are secrets.
    """
    settings = _validate(Settings)
    if fault := _address_fault(settings):
        raise _refusal({"PUBLIC_URL": fault}) from None
    return settings


def warn_of_names() -> None:
    """Log a line for each setting that the environment has under an old or a misspelt name."""
    for name, (problem, hint) in odd_names().items():
        log.warning(f"The setting {name} {problem}; {hint}")


def odd_names() -> dict[str, tuple[str, str]]:
    """The old and the misspelt names of settings in the environment, each with problem and hint."""
    found = {
        old: (f"is now called {new}", "the old name still works")
        for old, new in RENAMED.items()
        if old in os.environ
    }
    for given, meant in _misspelt().items():
        found[given] = ("is not known and does nothing", f"did you mean {meant}?")
    return found


def _misspelt() -> dict[str, str]:
    return find_misspelt(os.environ.keys(), Settings.model_fields.keys())


def _address_fault(settings: Settings) -> str | None:
    """Why Twilio cannot reach the service. What stands for Twilio may reach any address."""
    is_local = settings.UNSIGNED_LOCAL_WEBHOOKS or not setting_values.is_twilio(
        settings.TWILIO_API_URL
    )
    if is_local or not settings.PUBLIC_URL or setting_values.is_reachable(settings.PUBLIC_URL):
        return None
    return "must be an https:// address that the internet can reach"


def warn_of_missing_address(settings: Settings) -> None:
    """Log a line if PUBLIC_URL is not set."""
    if not settings.PUBLIC_URL:
        log.warning(
            "PUBLIC_URL is not set: no message is accepted until it is",
            where=WHERE["PUBLIC_URL"],
        )


def load_account(given: dict[str, str], *, env_file: str, url: str | None = None) -> Account:
    """The settings in ``given``; missing ones come from the environment, or from ``env_file``.

    A ``url`` replaces PUBLIC_URL; METRICS_TOKEN is left out if that is on another host. Files of
    certificates are those of this machine. Raises ``SettingsError`` like ``load_settings``.
    """
    given = {name: value for name, value in given.items() if name not in CERTIFICATE_FILES}
    if not url:
        return _validate(Account, _env_file=env_file, **given)
    account = _validate(Account, _env_file=env_file, **given | {"PUBLIC_URL": url})
    try:
        own = _validate(Account, _env_file=env_file, **given).PUBLIC_URL
    except SettingsError:
        own = ""
    is_own = urlsplit(own).hostname == urlsplit(account.PUBLIC_URL).hostname
    return account if is_own else account.model_copy(update={"METRICS_TOKEN": ""})


def _validate(kind: type[AnyAccount], **given: Any) -> AnyAccount:
    try:
        return kind(**given)
    except ValidationError as error:
        details = ((str(detail["loc"][0]), detail) for detail in error.errors())
        faults = {name: _describe_fault(name, detail) for name, detail in details}
        raise _refusal(faults) from None


def _refusal(faults: Mapping[str, str]) -> SettingsError:
    """The error for wrong settings, by name with what is wrong with each."""
    places = {name: f" ({WHERE[name]})" if name in WHERE else "" for name in faults}
    sentence = "; ".join(f"{name} {fault}{places[name]}" for name, fault in faults.items())
    return SettingsError(sentence, faults=faults)


def _full_domain(given: dict[str, object]) -> object:
    """HEROKU_APP_NAME, if the operator set it to the whole domain.

    The domain does not follow from the bare name: since 2023 it has a random suffix.
    """
    name = given.get("HEROKU_APP_NAME")
    return name if isinstance(name, str) and "." in name else None


def _describe_fault(name: str, detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        given = next((given for given, meant in _misspelt().items() if meant == name), None)
        return f"is missing, but there is {given}" if given else "is missing"
    problem = detail["msg"].removeprefix("Value error, ")
    return problem[:1].lower() + problem[1:]
