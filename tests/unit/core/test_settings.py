"""The environment, checked once at start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from core.errors import SettingsError
from core.settings import WHERE, Settings, is_public_url, load_settings, odd_names, warn_of_names

Load = Callable[..., Settings]

SECRETS = {
    "TWILIO_AUTH_TOKEN": "very-secret-1",
    "SALESFORCE_CONSUMER_KEY": "very-secret-2",
    "SALESFORCE_CONSUMER_SECRET": "very-secret-3",
    "ELEVENLABS_API_KEY": "very-secret-4",
    "METRICS_TOKEN": "very-secret-5",
    "TWILIO_SHARED_KEY": "very-secret-6",
}
GIVEN = SECRETS | {
    "TWILIO_ACCOUNT_SID": "AC" + "5a" * 16,
    "TWILIO_WHATSAPP_FROM": "whatsapp:+14155238886",
    "AGENTFORCE_AGENT_ID": "0XxSANDBOX00000AAA",
    "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
    "ELEVENLABS_VOICE_ID": "voice000000000000001",
    "PUBLIC_URL": "https://bot.example.com",
}
NEEDED = sorted(GIVEN.keys() - {"METRICS_TOKEN", "TWILIO_SHARED_KEY", "PUBLIC_URL"})


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() & Settings.model_fields.keys():
        monkeypatch.delenv(name)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    def loaded(**changes: str | None) -> Settings:
        for name, value in (GIVEN | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return load_settings()

    return loaded


def test_the_needed_settings_suffice(load: Load) -> None:
    settings = load(METRICS_TOKEN=None, TWILIO_SHARED_KEY=None, PUBLIC_URL=None)
    for name in NEEDED:
        assert getattr(settings, name) == GIVEN[name]


def test_defaults_are_those_of_the_documents(load: Load) -> None:
    settings = load()
    assert settings.TURN_THREADS == 200
    assert settings.VOICE_REPLIES == "mirror"
    assert settings.ELEVENLABS_STT_MODEL == "scribe_v2"
    assert settings.ELEVENLABS_TTS_MODEL == "eleven_flash_v2_5"
    assert settings.TWILIO_API_URL == "https://api.twilio.com"
    assert settings.TWILIO_MESSAGING_URL == "https://messaging.twilio.com"
    assert "mms.twiliocdn.com" in settings.TWILIO_MEDIA_HOSTS
    assert settings.UNSIGNED_LOCAL_WEBHOOKS is False


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, "", "  \n"], ids=["unset", "empty", "blank"])
def test_each_missing_setting_is_named_with_where_to_find_it(
    load: Load, name: str, value: str | None
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})
    message = str(caught.value)
    assert f"{name} is missing" in message
    assert WHERE[name] in message
    assert not any(other in message for other in NEEDED if other != name and name not in other)


def test_all_missing_settings_are_named_at_once(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**dict.fromkeys(GIVEN))
    assert all(f"{name} is missing" in str(caught.value) for name in NEEDED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TWILIO_ACCOUNT_SID", "SK123"),
        ("TWILIO_ACCOUNT_SID", "AC"),
        ("TWILIO_ACCOUNT_SID", "AC123"),
        ("TWILIO_ACCOUNT_SID", "SK" + "5a" * 16),
        ("TWILIO_ACCOUNT_SID", "ac" + "5a" * 16),
        ("TWILIO_ACCOUNT_SID", "AC" + "5a" * 16 + "0"),
        ("TWILIO_ACCOUNT_SID", "AC" + "5g" * 16),
        ("TWILIO_ACCOUNT_SID", '"AC' + "5a" * 16 + '"'),
        ("TWILIO_AUTH_TOKEN", "'very-secret-0'"),
        ("TWILIO_AUTH_TOKEN", "very-secret-0 (primary)"),
        ("TWILIO_SHARED_KEY", "'very-secret-0'"),
        ("TWILIO_ACCOUNT_SID", "AC12 34"),
        ("TWILIO_WHATSAPP_FROM", "14155238886"),
        ("TWILIO_WHATSAPP_FROM", "sms:+14155238886"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:hello"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+123"),
        ("TWILIO_WHATSAPP_FROM", "+123"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:14155238886"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+04155238886"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+1415523888612345"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:whatsapp:+14155238886"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:US.13491208655302741918"),
        ("TWILIO_WHATSAPP_FROM", "MG" + "5a" * 16),
        ("TWILIO_API_URL", "https://api.twilio.com/2010-04-01"),
        ("TWILIO_MESSAGING_URL", "https://messaging.twilio.com/v2"),
        ("TWILIO_MEDIA_HOSTS", "https://mms.twiliocdn.com"),
        ("TWILIO_MEDIA_HOSTS", "mms.twiliocdn.com, media.twiliocdn.com/AC"),
        ("TWILIO_MEDIA_HOSTS", "MMS.twiliocdn.com"),
        ("TWILIO_MEDIA_HOSTS", '"mms.twiliocdn.com"'),
        ("AGENTFORCE_AGENT_ID", "My_Agent"),
        ("AGENTFORCE_AGENT_ID", "0Xx123"),
        ("AGENTFORCE_AGENT_ID", "0XxSANDBOX00000AA"),
        ("AGENTFORCE_AGENT_ID", "0XySANDBOX00000AAA"),
        ("AGENTFORCE_AGENT_ID", "0XxSANDBOX00000AAA/view"),
        ("AGENTFORCE_AGENT_ID", "0XxSANDBOX0/000AAA"),
        ("AGENTFORCE_AGENT_ID", "0X9SANDBOX00000AAA"),
        ("SALESFORCE_CONSUMER_KEY", '"very-secret-0"'),
        ("SALESFORCE_CONSUMER_SECRET", "very-secret-0\nvery-secret-1"),
        ("SALESFORCE_INSTANCE_URL", "ftp://acme.my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://"),
        ("SALESFORCE_INSTANCE_URL", "https:/acme.my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://login.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://LOGIN.salesforce.com."),
        ("SALESFORCE_INSTANCE_URL", "test.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://api.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://na139.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme--c.vf.force.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme.my.site.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme.my.salesforce-sites.com"),
        ("SALESFORCE_INSTANCE_URL", "https://lightning.force.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme.my.salesforce.com/lightning/setup"),
        ("SALESFORCE_INSTANCE_URL", "http://acme.my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", '"https://acme.my.salesforce.com"'),
        ("PUBLIC_URL", "https://my_bot.example.com"),
        ("PUBLIC_URL", "my_bot.example.com"),
        ("PUBLIC_URL", "https://bot.my_company.example.com/wa"),
        ("PUBLIC_URL", 'https://bot.example.com"'),
        ("PUBLIC_URL", "https://bot.exa\nmple.com"),
        ("PUBLIC_URL", "https://bot.example.com\\wa"),
        ("PUBLIC_URL", "https://<your app's domain>"),
        ("PUBLIC_URL", "https://user:very-secret-0@bot.example.com"),
        ("PUBLIC_URL", "https://:very-secret-0@bot.example.com"),
        ("PUBLIC_URL", "https://bot.example.com/?a=very-secret-0"),
        ("PUBLIC_URL", "https://bot.example.com/#rc=2"),
        ("PUBLIC_URL", "https://bot.example.com:very-secret-0"),
        ("PUBLIC_URL", "https://bot.example.com:99999"),
        ("PUBLIC_URL", "https://[very-secret-0"),
        ("PUBLIC_URL", "http://bot.example.com"),
        ("PUBLIC_URL", "http://127.0.0.1:8000"),
        ("PUBLIC_URL", "https://localhost"),
        ("PUBLIC_URL", "https://192.168.0.7"),
        ("PUBLIC_URL", "https://[fe80::1]"),
        ("PUBLIC_URL", "https://bot"),
        ("PUBLIC_URL", "https://mac.local"),
        ("FFMPEG_PATH", "/nowhere/ffmpeg"),
        ("FFMPEG_PATH", "no-such-ffmpeg"),
        ("FFMPEG_PATH", "/etc/passwd"),
        ("PORT", "80000"),
        ("PORT", "http"),
        ("AGENTFORCE_API_URL", "not an address"),
        ("AGENTFORCE_API_URL", "https://acme.my.salesforce.com"),
        ("AGENTFORCE_API_URL", "https://login.salesforce.com"),
        ("AGENTFORCE_API_URL", "https://acme.lightning.force.com"),
        ("AGENTFORCE_API_URL", "https://api.salesforce.com/einstein/ai-agent/v1"),
        ("ELEVENLABS_API_KEY", '"very-secret-0"'),
        ("ELEVENLABS_API_KEY", "“very-secret-0”"),
        ("ELEVENLABS_API_KEY", "xi-api-key: very-secret-0"),
        ("ELEVENLABS_API_KEY", "…"),
        ("ELEVENLABS_API_URL", "https://api.elevenlabs.io/v1"),
        ("ELEVENLABS_VOICE_ID", "صوت"),
        ("ELEVENLABS_VOICE_ID", "Rachel"),
        ("ELEVENLABS_STT_MODEL", '"scribe_v2"'),
        ("ELEVENLABS_TTS_MODEL", "Eleven Flash v2.5"),
        ("HANDOFF_CONTACT", "our help desk"),
        ("HANDOFF_CONTACT", "+1 415 555 0100\nor never"),
        ("HANDOFF_CONTACT", "call +1 415 555 0100"),
        ("HANDOFF_CONTACT", "12"),
        ("HANDOFF_CONTACT", "1" * 16),
        ("HANDOFF_CONTACT", "help@"),
        ("HANDOFF_CONTACT", "help@acme"),
        ("HANDOFF_CONTACT", f"{'a' * 65}@acme.com"),
        ("HANDOFF_CONTACT", "https://"),
        ("HANDOFF_CONTACT", "https://acme.com/contact us"),
        ("HANDOFF_CONTACT", "https://acme.com/" + "a" * 201),
        ("HANDOFF_CONTACT", "javascript:alert(1)"),
        ("ALLOWED_SENDERS", "14155550000"),
        ("ALLOWED_SENDERS", "whatsapp:+14155550000, whatsapp:14155550001"),
        ("ALLOWED_SENDERS", "whatsapp:+14155550000 whatsapp:+14155550001"),
        ("TURN_DEADLINE", "inf"),
        ("ELEVENLABS_VOICE_ID", "../voices"),
        ("ELEVENLABS_VOICE_ID", "a b"),
        ("DATABASE_URL", "mysql://user:very-secret-0@db.example.com/bridge"),
        ("DATABASE_URL", "postgres:very-secret-0"),
        ("DATABASE_URL", "postgres://user:secret@very-secret-0@db.example.com/bridge"),
        ("DATABASE_URL", "postgres://user:secret@very-secret-0:1@db.example.com/bridge"),
        ("DATABASE_URL", "postgres://user:secret@very-secret-0/1@db.example.com/bridge"),
        ("DATABASE_URL", "postgres://user:secret@very-secret-0?1@db.example.com/bridge"),
        ("INBOX_LIMIT", "many"),
        ("INBOX_LIMIT", "0"),
        ("TURN_THREADS", "-1"),
        ("STILL_WORKING_AFTER", "soon"),
        ("STILL_WORKING_AFTER", "nan"),
        ("STT_MIN_CONFIDENCE", "1.5"),
        ("CURRENCY", "dollars"),
        ("PRICE_PER_1000_CREDITS", "cheap"),
        ("PRICE_PER_TRANSCRIBED_HOUR", "inf"),
        ("PRICE_PER_QUESTION", "-1"),
        ("VOICE_REPLIES", "sometimes"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "LOUD"),
        ("TRANSCRIPT_ECHO", "perhaps"),
        ("AGENTFORCE_STREAMING", "2"),
    ],
)
def test_each_wrong_setting_is_named_and_its_value_is_not_repeated(
    load: Load, name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})
    message = str(caught.value)
    assert f"{name} " in message
    assert "very-secret" not in message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TWILIO_ACCOUNT_SID", "AC123", "must be AC and 32 digits"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:hello", "must be whatsapp:+ and the number"),
        ("PUBLIC_URL", "https://my_bot.example.com", "must have no underscore in its host"),
        ("SALESFORCE_INSTANCE_URL", "https://login.salesforce.com", "must be the My Domain"),
        ("AGENTFORCE_API_URL", "https://acme.my.salesforce.com", "must be a host of the API"),
        ("ELEVENLABS_API_KEY", "'very-secret-0'", "must be pasted alone: without quotes"),
        ("ALLOWED_SENDERS", "14155550000", "must name each sender as Twilio does"),
        ("TWILIO_MEDIA_HOSTS", "https://mms.twiliocdn.com", "must be names of hosts"),
        ("AGENTFORCE_AGENT_ID", "0X9SANDBOX00000AAA", "is the id of a version of the agent"),
        ("ELEVENLABS_VOICE_ID", "Rachel", "must be the voice's id, of 20 letters and digits"),
        ("FFMPEG_PATH", "/nowhere/ffmpeg", "is no program that can be run here"),
        ("PUBLIC_URL", "http://bot.example.com", "must be an https:// address that the internet"),
        ("PORT", "80000", "must be a number up to 65535"),
    ],
)
def test_a_wrong_setting_says_what_is_right_and_where_it_is_found(
    load: Load, name: str, value: str, told: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} {told}")
    assert message.endswith(f" ({WHERE[name]})")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TWILIO_ACCOUNT_SID", "AC" + "5A" * 16),
        ("TWILIO_AUTH_TOKEN", "0123456789abcdef" * 2),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+6591234567"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+2906123"),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+493012345678901"),
        ("TWILIO_API_URL", "https://api.dublin.ie1.twilio.com"),
        ("AGENTFORCE_AGENT_ID", "0XxSANDBOX00000"),
        ("SALESFORCE_INSTANCE_URL", "https://acme--test.sandbox.my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme-dev-ed.develop.my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://Acme.My.Salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "http://127.0.0.1:5103"),
        ("SALESFORCE_INSTANCE_URL", "http://agent_force:5103"),
        ("DATABASE_URL", "postgresql://user@server:a/b:c@db.example.com:5432/bridge?a=b"),
        ("DATABASE_URL", "postgresql://db.example.com"),
        ("PUBLIC_URL", "https://8.8.8.8"),
        ("PUBLIC_URL", "https://bot-1a2b.herokuapp.com"),
        ("PUBLIC_URL", "https://bot.example.com/my_app"),
        ("AGENTFORCE_API_URL", "https://api.salesforce.com"),
        ("AGENTFORCE_API_URL", "https://api.gov.salesforce.com"),
        ("AGENTFORCE_API_URL", "https://test.api.salesforce.com"),
        ("ELEVENLABS_API_KEY", "sk_0123456789abcdef"),
        ("ELEVENLABS_API_URL", "https://api.eu.residency.elevenlabs.io"),
        ("ELEVENLABS_API_URL", "http://127.0.0.1:5104/prefix"),
        ("ELEVENLABS_TTS_MODEL", "eleven_v4_turbo"),
    ],
)
def test_what_the_clouds_allow_is_taken(load: Load, name: str, value: str) -> None:
    assert getattr(load(**{name: value}), name) == value


@pytest.mark.parametrize(
    "contact",
    ["112", "+14155550100", "+1 (415) 555-0100", "(0)30 123456", "020/7946.0000"]
    + ["help@acme.com", "first.last+bot@mail.acme.co.uk"]
    + ["https://acme.com", "https://wa.me/14155550100", "http://acme.com:8080/a?b=c#d"],
)
def test_a_person_is_reached_by_phone_email_or_link(load: Load, contact: str) -> None:
    assert contact == load(HANDOFF_CONTACT=f" {contact}\n").HANDOFF_CONTACT


def test_senders_may_hide_their_number(load: Load) -> None:
    given = "whatsapp:+14155550000,whatsapp:US.13491208655302741918,whatsapp:CO.ENT.44"
    assert ",".join(load(ALLOWED_SENDERS=given).ALLOWED_SENDERS) == given


def test_a_missing_and_a_wrong_setting_are_both_named(load: Load) -> None:
    with pytest.raises(
        SettingsError, match=r"(?s)(?=.*TWILIO_AUTH_TOKEN is missing)(?=.*INBOX_LIMIT )"
    ):
        load(TWILIO_AUTH_TOKEN=None, INBOX_LIMIT="x")


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_shown_nowhere(load: Load, name: str) -> None:
    settings = load()
    assert getattr(settings, name) == SECRETS[name]
    assert SECRETS[name] not in repr(settings)
    assert SECRETS[name] not in str(settings)
    with pytest.raises(SettingsError) as caught:
        load(INBOX_LIMIT="x", **{name: f"{SECRETS[name]} "})
    assert "very-secret" not in repr(caught.value)


@pytest.mark.parametrize("name", GIVEN)
def test_values_are_stripped(load: Load, name: str) -> None:
    """A pasted newline is the classic mistake."""
    assert getattr(load(**{name: f" \t{GIVEN[name]}\r\n"}), name) == GIVEN[name]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://bot.example.com/", "https://bot.example.com"),
        ("https://bot.example.com//", "https://bot.example.com"),
        ("bot.example.com", "https://bot.example.com"),
        ("https://bot.example.com:443", "https://bot.example.com:443"),
        ("https://bot.example.com:8443/wa/", "https://bot.example.com:8443/wa"),
    ],
)
def test_web_addresses_lose_their_last_slash_and_gain_a_scheme(
    load: Load, given: str, kept: str
) -> None:
    assert kept == load(PUBLIC_URL=given).PUBLIC_URL


@pytest.mark.parametrize(
    ("environment", "public_url"),
    [
        ({"HEROKU_APP_DEFAULT_DOMAIN_NAME": "bot-1a2b.herokuapp.com"},
         "https://bot-1a2b.herokuapp.com"),
        ({"HEROKU_APP_NAME": "bot-1a2b.herokuapp.com"}, "https://bot-1a2b.herokuapp.com"),
        ({"HEROKU_APP_NAME": "bot", "HEROKU_APP_DEFAULT_DOMAIN_NAME": "bot-9.herokuapp.com"},
         "https://bot-9.herokuapp.com"),
        ({"HEROKU_APP_NAME": "old.herokuapp.com",
          "HEROKU_APP_DEFAULT_DOMAIN_NAME": "bot-9.herokuapp.com"}, "https://bot-9.herokuapp.com"),
        ({"PUBLIC_URL": "https://own.example.com",
          "HEROKU_APP_DEFAULT_DOMAIN_NAME": "bot-9.herokuapp.com"}, "https://own.example.com"),
    ],
)  # fmt: skip
def test_heroku_tells_the_public_address_unless_the_operator_does(
    load: Load, environment: dict[str, str], public_url: str
) -> None:
    assert public_url == load(**({"PUBLIC_URL": None} | environment)).PUBLIC_URL


def test_the_bare_name_of_a_heroku_app_tells_no_address(load: Load) -> None:
    """Its domain ends in a random suffix since 2023."""
    assert load(PUBLIC_URL=None, HEROKU_APP_NAME="bot").PUBLIC_URL == ""


LOCAL = ["http://127.0.0.1:8000", "http://127.9.9.9", "http://localhost:8000", "http://[::1]:8000"]
PUBLIC = [
    "https://bot.example.com",
    "http://bot.example.com",
    "http://192.168.0.7:8000",
    "http://0.0.0.0:8000",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
]


@pytest.mark.parametrize("address", LOCAL)
def test_an_address_of_this_machine_is_not_public(load: Load, address: str) -> None:
    assert not is_public_url(address)
    settings = load(PUBLIC_URL=address, UNSIGNED_LOCAL_WEBHOOKS="true")
    assert settings.UNSIGNED_LOCAL_WEBHOOKS is True


@pytest.mark.parametrize("address", PUBLIC)
def test_all_other_addresses_are_public(load: Load, address: str) -> None:
    assert is_public_url(address)
    with pytest.raises(SettingsError, match=r"^UNSIGNED_LOCAL_WEBHOOKS is for "):
        load(PUBLIC_URL=address, UNSIGNED_LOCAL_WEBHOOKS="true")


def test_a_bridge_without_an_address_takes_no_unsigned_webhooks(load: Load) -> None:
    with pytest.raises(SettingsError, match="UNSIGNED_LOCAL_WEBHOOKS"):
        load(PUBLIC_URL=None, UNSIGNED_LOCAL_WEBHOOKS="true")


@pytest.mark.parametrize("address", ["https://localhost", "HTTPS://localhost", "localhost"])
def test_a_bridge_behind_tls_takes_no_unsigned_webhooks(load: Load, address: str) -> None:
    with pytest.raises(SettingsError, match="UNSIGNED_LOCAL_WEBHOOKS"):
        load(PUBLIC_URL=address, UNSIGNED_LOCAL_WEBHOOKS="true")


@pytest.mark.parametrize("given", ["+14155238886", "whatsapp:+14155238886"])
def test_the_sender_gets_its_prefix(load: Load, given: str) -> None:
    assert load(TWILIO_WHATSAPP_FROM=given).TWILIO_WHATSAPP_FROM == "whatsapp:+14155238886"


def test_what_stands_for_twilio_may_reach_any_address(load: Load) -> None:
    settings = load(PUBLIC_URL="http://bridge:8000", TWILIO_API_URL="http://twilio-mock:4010")
    assert settings.PUBLIC_URL == "http://bridge:8000"
    with pytest.raises(SettingsError, match="PUBLIC_URL must be an https"):
        load(PUBLIC_URL="http://bridge:8000", TWILIO_API_URL="https://api.dublin.ie1.twilio.com")


def test_typing_indicators_follow_a_changed_api(load: Load) -> None:
    assert load(TWILIO_API_URL="http://127.0.0.1:1").TWILIO_MESSAGING_URL == "http://127.0.0.1:1"
    both = load(TWILIO_API_URL="http://127.0.0.1:1", TWILIO_MESSAGING_URL="http://127.0.0.1:2")
    assert both.TWILIO_MESSAGING_URL == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("given", "hosts"),
    [("a.com", ("a.com",)), (" a.com , b.com:81,", ("a.com", "b.com:81"))],
)
def test_media_hosts_are_a_list_with_commas(load: Load, given: str, hosts: tuple[str, ...]) -> None:
    assert hosts == load(TWILIO_MEDIA_HOSTS=given).TWILIO_MEDIA_HOSTS


def test_herokus_form_of_a_database_address_is_taken(load: Load) -> None:
    assert load().DATABASE_URL == ""
    address = "postgres://user:very-secret-0@db.example.com:5432/bridge"
    settings = load(DATABASE_URL=address)
    assert address.replace("postgres://", "postgresql://") == settings.DATABASE_URL
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "meant"), [("true", True), ("1", True), ("on", True), ("False", False), ("no", False)]
)
def test_switches(load: Load, given: str, meant: bool) -> None:
    assert load(TRANSCRIPT_ECHO=given).TRANSCRIPT_ECHO is meant


def test_empty_settings_fall_back_to_their_defaults(load: Load) -> None:
    settings = load(INBOX_LIMIT="", VOICE_REPLIES=" ", AGENTFORCE_API_URL="", TURN_THREADS="\n")
    assert (settings.INBOX_LIMIT, settings.VOICE_REPLIES) == (5000, "mirror")
    assert settings.AGENTFORCE_API_URL == ""


def test_names_are_case_sensitive_and_strangers_are_ignored(load: Load) -> None:
    with pytest.raises(SettingsError, match="TWILIO_AUTH_TOKEN is missing"):
        load(TWILIO_AUTH_TOKEN=None, twilio_auth_token="x", SOMETHING_ELSE="y")


def test_settings_cannot_be_changed_later(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().TURN_THREADS = 1


@pytest.mark.parametrize("address", [*LOCAL, *PUBLIC])
def test_a_sandbox_on_this_machine_reaches_any_address(load: Load, address: str) -> None:
    assert address == load(PUBLIC_URL=address, TWILIO_API_URL="http://127.0.0.1:5101").PUBLIC_URL


@pytest.mark.parametrize(
    ("given", "my_domain"),
    [
        ("https://acme.lightning.force.com", "https://acme.my.salesforce.com"),
        ("acme.lightning.force.com/lightning/setup/SetupOneHome/home",
         "https://acme.my.salesforce.com"),
        ("https://acme--dev.sandbox.lightning.force.com",
         "https://acme--dev.sandbox.my.salesforce.com"),
        ("https://acme-dev-ed.develop.lightning.force.com",
         "https://acme-dev-ed.develop.my.salesforce.com"),
        ("https://acme.my.salesforce-setup.com", "https://acme.my.salesforce.com"),
        ("http://acme--dev.sandbox.my.salesforce-setup.com/lightning/setup",
         "https://acme--dev.sandbox.my.salesforce.com"),
    ],
)  # fmt: skip
def test_an_address_of_salesforce_from_the_browser_becomes_the_my_domain(
    load: Load, given: str, my_domain: str
) -> None:
    assert my_domain == load(SALESFORCE_INSTANCE_URL=given).SALESFORCE_INSTANCE_URL


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("LOG_LEVEL", "info", "INFO"),
        ("LOG_FORMAT", "JSON", "json"),
        ("VOICE_REPLIES", "Always", "always"),
        ("TWILIO_WHATSAPP_FROM", "+1 (415) 523-8886", "whatsapp:+14155238886"),
        ("ALLOWED_SENDERS", "+1 415 555 0100, whatsapp:+14155550101",
         ("whatsapp:+14155550100", "whatsapp:+14155550101")),
        ("TWILIO_WHATSAPP_FROM", "whatsapp:+1 415 523 8886", "whatsapp:+14155238886"),
        ("TWILIO_WHATSAPP_FROM", "+1\u00a0415–523–8886", "whatsapp:+14155238886"),
        ("ALLOWED_SENDERS", "whatsapp:+1\u00a0415–555–0100", ("whatsapp:+14155550100",)),
        ("SALESFORCE_INSTANCE_URL", "https://acme.lightning.force.com/lightning/page/home?a=b#c",
         "https://acme.my.salesforce.com"),
        ("SALESFORCE_INSTANCE_URL", "https://acme.my.salesforce-setup.com/lightning/setup/x#y",
         "https://acme.my.salesforce.com"),
        ("FFMPEG_PATH", "sh", shutil.which("sh")),
        ("PORT", "8000", "8000"),
    ],
)  # fmt: skip
def test_what_can_only_mean_one_thing_is_taken(
    load: Load, name: str, given: str, taken: object
) -> None:
    assert getattr(load(**{name: given}), name) == taken


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("TWILIO_AUTH_TOKN", "TWILIO_AUTH_TOKEN"),
        ("TWILIO_WHATSAP_FROM", "TWILIO_WHATSAPP_FROM"),
        ("ELEVEN_LABS_API_KEY", "ELEVENLABS_API_KEY"),
        ("ELEVENLABS_VOICEID", "ELEVENLABS_VOICE_ID"),
        ("ALLOWED_SENDER", "ALLOWED_SENDERS"),
        ("METRIC_TOKEN", "METRICS_TOKEN"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("VOICE_REPLY", "VOICE_REPLIES"),
    ],
)
def test_a_misspelt_name_is_told_with_the_right_one(load: Load, given: str, meant: str) -> None:
    with capture_logs() as lines:
        load(**{given: "very-secret-0"})
        warn_of_names()
    (line,) = lines
    assert line["event"] == (
        f"The setting {given} is not known and does nothing; did you mean {meant}?"
    )
    if meant in NEEDED:
        with pytest.raises(SettingsError, match=f"{meant} is missing, but there is {given} "):
            load(**{meant: None})


def test_variables_of_the_platform_are_not_taken_for_misspelt_settings(load: Load) -> None:
    platform = (
        "HEROKU_APP_ID HEROKU_RELEASE_CREATED_AT HEROKU_SLUG_COMMIT SSL_CERT_DIR TWILIO_REGION "
        "TWILIO_EDGE DYNO DYNO_RAM WEB_CONCURRENCY PYTHONPATH LANG HTTP_PROXY HTTPS_PROXY HOME "
        "DATABASE_CONNECTION_POOL_URL PGHOST LOG_DIR STACK TZ"
    )
    load(**dict.fromkeys(platform.split(), "x"))
    assert odd_names() == {}


def test_a_setting_is_still_read_under_its_old_name_with_a_warning(load: Load) -> None:
    assert load(CLOUD_PATIENCE="2").PROVIDER_TIMEOUT_FACTOR == 2
    with capture_logs() as lines:
        warn_of_names()
    (line,) = lines
    assert "CLOUD_PATIENCE is now called PROVIDER_TIMEOUT_FACTOR" in line["event"]


def test_the_new_name_of_a_setting_counts_more_than_the_old_one(load: Load) -> None:
    settings = load(CLOUD_PATIENCE="2", PROVIDER_TIMEOUT_FACTOR="3")
    assert settings.PROVIDER_TIMEOUT_FACTOR == 3
