"""The Twilio stand-in, called by HTTP and by Twilio's own SDK."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import imageio_ffmpeg
import pytest
import requests
from flask import Response
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault, Faults
from sandbox.latency import INSTANT
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from sandbox.twilio.delivery_simulator import VOICE_NOTE_LIMIT_BYTES
from sandbox.twilio.media import Ready
from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.webhook import Fields, sign
from tests.sandbox.bot import Bot

ACCOUNT = "AC" + "5a" * 16
TOKEN = "token"
USER = "whatsapp:+14155550100"
SENDER = "whatsapp:+14155238886"


def recording(*, seconds: float = 1.0, channels: int = 1, rate: str = "24k") -> bytes:
    """Ogg/Opus noise, which cannot be compressed well."""
    source = f"anoisesrc=duration={seconds}:sample_rate=48000"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source]
    command += ["-ac", str(channels), "-c:a", "libopus", "-b:a", rate, "-f", "ogg", "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def note() -> bytes:
    return recording()


@pytest.fixture
def recorder() -> CallRecorder:
    return CallRecorder()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def bot(recorder: CallRecorder) -> Iterator[Bot]:
    bot = Bot(recorder=recorder)
    bot.start()
    yield bot
    bot.stop()


@pytest.fixture
def twilio(recorder: CallRecorder, faults: Faults, bot: Bot) -> Iterator[TwilioStandIn]:
    standin = TwilioStandIn(
        recorder=recorder, faults=faults, latency=INSTANT, account_sid=ACCOUNT, auth_token=TOKEN
    )
    standin.start()
    standin.webhook_url = f"{bot.url}/"
    yield standin
    standin.stop()


@pytest.fixture
def client(twilio: TwilioStandIn) -> Any:
    """Twilio's own SDK."""
    client = Client(ACCOUNT, TOKEN)
    client.api.base_url = client.messaging.base_url = twilio.url
    return client


def rules(recorder: CallRecorder) -> list[str]:
    return [violation.rule for violation in recorder.violations]


def send(twilio: TwilioStandIn, **fields: Any) -> requests.Response:
    """POST Messages.json as the account; an empty field is left out."""
    form = {"To": USER, "From": SENDER} | fields
    return requests.post(
        f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
        data={name: value for name, value in form.items() if value != ""},
        auth=(ACCOUNT, TOKEN),
        timeout=5,
    )


# Inbound


def test_signature_agrees_with_published_vectors() -> None:
    """The signature is right for Twilio's own test vectors.

    docs/providers/twilio.md, "Signatures".
    """
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    url = "https://example.com/myapp.php?foo=1&bar=2"
    assert sign(f"{url}#rc=2", form, "12345") == "L/OH5YylLD5NRKLltdqwSvS0BnU="
    repeated: Fields = {
        "Sid": "CA123",
        "SidAccount": "AC123",
        "Digits": ["5678", "1234", "1234"],
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert sign(url, repeated, "12345") == "IK+Dwps556ElfBT0I3Rgjkr1wJU="


def test_a_text_reaches_the_webhook_as_twilio_sends_it(twilio: TwilioStandIn, bot: Bot) -> None:
    """A text arrives with every field, the usual headers, and a signature the SDK accepts."""
    twilio.public_webhook_url = "https://bot.example.com/"
    delivery = twilio.say(USER, "Hi & bye +1 ñ\nline2 ")
    form, headers = bot.received[0], bot.headers[0]
    assert (delivery.status, delivery.sid) == (200, form["MessageSid"])
    assert len(form) == 17
    assert form["Body"] == "Hi & bye +1 ñ\nline2 "
    assert headers["User-Agent"] == "TwilioProxy/1.1"
    validator = RequestValidator(TOKEN)
    assert validator.validate("https://bot.example.com/", form, headers["X-Twilio-Signature"])
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("kind", "arguments", "message_type", "expected"),
    [
        ("image", (), "image", {"NumMedia": "1", "MediaContentType0": "image/jpeg"}),
        ("document", (), "document", {"Body": "invoice.pdf"}),
        ("sticker", (), "sticker", {"MediaContentType0": "image/webp"}),
        ("video", (), "video", {"MediaContentType0": "video/mp4"}),
        ("contact", (), "contacts", {"MediaContentType0": "text/vcard", "Body": ""}),
        ("location", (), "location", {"Latitude": "37.7879277", "NumMedia": "0", "Body": ""}),
        ("button", ("Confirm",), "interactive", {"Body": "Confirm", "ButtonText": "Confirm"}),
        ("list_choice", ("Row",), "interactive", {"Body": "Row", "ListTitle": "Row"}),
        ("reaction", (), "reaction", {"Body": "", "NumMedia": "0"}),
    ],
)
def test_every_kind_of_message_can_be_sent(
    twilio: TwilioStandIn,
    bot: Bot,
    kind: str,
    arguments: tuple[str, ...],
    message_type: str,
    expected: dict[str, str],
) -> None:
    """Each kind of message arrives with its type and its own fields."""
    form = getattr(twilio.forms, kind)(USER, *arguments)
    assert twilio.deliver(form).status == 200
    assert bot.received[0]["MessageType"] == message_type
    assert expected.items() <= bot.received[0].items()
    assert form["MessageSid"].startswith("MM" if form["NumMedia"] == "1" else "SM")


def test_a_user_who_hides_the_number_has_none(twilio: TwilioStandIn, bot: Bot) -> None:
    """A business-scoped user arrives without WaId, and can be answered."""
    user = "whatsapp:US.13491208655302741918"
    twilio.say(user, "hi")
    assert bot.received[0]["From"] == user
    assert "WaId" not in bot.received[0]
    assert send(twilio, To=user, Body="hello").status_code == 201


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response("<Response/>", 500, content_type="text/xml"), "11200"),
        (Response("<Response>", content_type="text/xml"), "12100"),
        (Response("", content_type="text/xml"), "12100"),
        (Response("<Answer/>", content_type="text/xml"), "12100"),
        (Response("{}", content_type="application/json"), "12300"),
        (Response("<Response/>", content_type="text/html"), "12300"),
        (Response(f"<Response>{' ' * 65536}</Response>", content_type="text/xml"), "11750"),
        (
            Response("<Response><Message><Body/></Message></Response>", content_type="text/xml"),
            "14103",
        ),
        (
            Response("<Response/>", content_type="text/xml", headers={"Set-Cookie": "a=b"}),
            "the webhook sets a cookie",
        ),
        (Response("OK", content_type="text/plain"), "text/plain is sent to the user"),
    ],
)
def test_wrong_answers_of_the_webhook_are_violations(
    twilio: TwilioStandIn, bot: Bot, answer: Response, error: str
) -> None:
    """Errors that Twilio would log are recorded as violations."""
    bot.answer = answer
    twilio.say(USER, "hi")
    assert [rule.startswith(error) for rule in rules(twilio.recorder)] == [True]


def test_a_late_answer_is_a_violation(twilio: TwilioStandIn, bot: Bot) -> None:
    """The webhook times out, and the violation is recorded."""
    bot.may_answer.clear()
    assert twilio.deliver(twilio.forms.text(USER, "hi"), timeout=0.2).status == 0
    bot.may_answer.set()
    assert rules(twilio.recorder) == ["11205 total timeout triggered: no answer within 0.2 s"]


def test_a_bot_that_is_down_is_no_violation(twilio: TwilioStandIn, bot: Bot) -> None:
    """A refused connection gives status 0 and no violation."""
    bot.stop()
    assert twilio.say(USER, "hi").status == 0
    assert twilio.recorder.violations == []


def test_twiml_messages_are_sent(twilio: TwilioStandIn, bot: Bot) -> None:
    """A text in the TwiML reaches the user."""
    twiml = "<Response><Message><Body>a</Body></Message><Message>b</Message></Response>"
    bot.answer = Response(twiml, content_type="application/xml")
    twilio.say(USER, "hi")
    sent = twilio.wait_for_messages(USER, 2)
    assert [(one.body, one.direction) for one in sent] == [
        ("a", "outbound-reply"),
        ("b", "outbound-reply"),
    ]


def test_unsigned_messages_are_not_treated_as_twilios(twilio: TwilioStandIn, bot: Bot) -> None:
    """An unsigned post has no signature and opens no window, and its refusal is no violation."""
    bot.answer = Response(status=403)
    form = twilio.forms.text(USER, "hi")
    assert twilio.deliver(form, signed=False).status == 403
    assert "X-Twilio-Signature" not in bot.headers[0]
    assert twilio.recorder.violations == []
    sid = send(twilio, Body="x").json()["sid"]
    assert ended(twilio, sid, "undelivered").error_code == 63016


# Media


def media(twilio: TwilioStandIn, bot: Bot, audio: bytes = b"OggS", **options: Any) -> str:
    twilio.speak(USER, audio, **options)
    return bot.received[-1]["MediaUrl0"]


def test_a_recording_is_fetched_over_two_hosts(
    twilio: TwilioStandIn, bot: Bot, note: bytes
) -> None:
    """With credentials the API redirects to another host, which needs no credentials."""
    url = media(twilio, bot, note)
    hop = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    assert hop.status_code == 307
    assert hop.headers["Location"].startswith(f"http://localhost:{twilio.cdn.port}/{ACCOUNT}/")
    answer = requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5)
    assert (answer.content, answer.headers["Content-Type"]) == (note, "audio/ogg")
    assert twilio.recorder.violations == []


@pytest.mark.parametrize("auth", [None, (ACCOUNT, "wrong"), ("SK1", TOKEN)])
def test_recordings_need_credentials(
    twilio: TwilioStandIn, bot: Bot, auth: tuple[str, str] | None
) -> None:
    """Without the account's credentials there is no recording, only Twilio's 20003."""
    answer = requests.get(media(twilio, bot), auth=auth, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    assert rules(twilio.recorder) == ["missing or wrong credentials"]


def test_the_cdn_refuses_credentials(twilio: TwilioStandIn, bot: Bot) -> None:
    """Credentials that are sent after the redirect are refused, and a violation."""
    url = media(twilio, bot)
    hop = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    leak = requests.get(hop.headers["Location"], auth=(ACCOUNT, TOKEN), timeout=5)
    assert leak.status_code == 400
    assert rules(twilio.recorder) == ["credentials were sent to the CDN host"]


def test_cdn_urls_expire_and_cannot_be_forged(twilio: TwilioStandIn, bot: Bot) -> None:
    """A CDN URL works only with its signature, and for a limited time."""
    url = media(twilio, bot)
    twilio.cdn.signed_seconds = -1
    assert requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5).status_code == 403
    twilio.cdn.signed_seconds = 60
    hop = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    changed = hop.headers["Location"].replace("Expires=", "Expires=9")
    assert requests.get(changed, timeout=5).status_code == 403


def test_a_recording_may_not_be_ready_yet(twilio: TwilioStandIn, bot: Bot) -> None:
    """The first requests for it get 404, as the voice note says."""
    url = media(twilio, bot, not_ready=Ready(calls=2))
    status = [requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5).status_code for _ in range(3)]
    assert status == [404, 404, 200]
    later = media(twilio, bot, not_ready=Ready(seconds=60))
    assert requests.get(later, auth=(ACCOUNT, TOKEN), timeout=5).status_code == 404


def test_a_recording_can_be_deleted(twilio: TwilioStandIn, bot: Bot, client: Any) -> None:
    """Media are listed until they are deleted."""
    url = media(twilio, bot)
    sid = bot.received[-1]["MessageSid"]
    found = client.messages(sid).media.list()
    assert [(one.content_type, one.parent_sid) for one in found] == [("audio/ogg", sid)]
    assert client.messages(sid).media(found[0].sid).delete()
    assert requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5).status_code == 404


# Sending


def ended(twilio: TwilioStandIn, sid: str, status: str) -> Any:
    def found() -> list[Any]:
        return [one for one in twilio.messages() if (one.sid, one.status) == (sid, status)]

    return twilio.recorder.wait_for(found, 5)[0]


def test_a_text_is_accepted_and_delivered(twilio: TwilioStandIn, client: Any) -> None:
    """The SDK's create gives a queued message that is delivered shortly after."""
    twilio.say(USER, "hi")
    created = client.messages.create(to=USER, from_=SENDER, body="*hello*\n\n- one\n- two")
    assert (created.status, created.direction, created.num_media) == (
        "queued",
        "outbound-api",
        "0",
    )
    assert ended(twilio, created.sid, "delivered").body.startswith("*hello*")
    assert client.messages(created.sid).fetch().status == "delivered"
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": "", "Body": "x"}, 21604),
        ({"To": "+14155550100", "Body": "x"}, 21211),
        ({"To": "whatsapp:14155550100", "Body": "x"}, 21211),
        ({"From": "", "Body": "x"}, 21603),
        ({"From": "whatsapp:+15550000000", "Body": "x"}, 63007),
        ({"Body": ""}, 21602),
        ({"Body": " \n"}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"Body": "🚀" * 801}, 21617),
        ({"MediaUrl": "not an address"}, 21620),
        ({"MediaUrl": ["http://a.example/x"] * 11}, 21623),
        ({"Body": "x", "StatusCallback": "/status"}, 21609),
    ],
)
def test_wrong_messages_are_refused(
    twilio: TwilioStandIn, fields: dict[str, Any], code: int
) -> None:
    """The error has Twilio's code and format, and is recorded as a violation."""
    answer = send(twilio, **fields)
    error = answer.json()
    assert (answer.status_code, error["code"], error["status"]) == (400, code, 400)
    assert error["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert str(code) in " ".join(rules(twilio.recorder))
    assert twilio.messages() == []


def test_the_longest_text_is_accepted(twilio: TwilioStandIn) -> None:
    """Exactly 1600 characters are not too many."""
    twilio.say(USER, "hi")
    assert send(twilio, Body="x" * 1600).status_code == 201
    assert twilio.recorder.violations == []


def test_wrong_credentials_are_an_sdk_error(twilio: TwilioStandIn) -> None:
    """The SDK raises its usual exception for a wrong token."""
    client = Client(ACCOUNT, "wrong")
    client.api.base_url = twilio.url
    with pytest.raises(TwilioRestException) as raised:
        client.messages.create(to=USER, from_=SENDER, body="x")
    assert (raised.value.status, raised.value.code) == (401, 20003)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"Body": "a\x07b"}, "control characters in the text: U+0007"),
        ({"Body": "\ufeffa"}, "control characters in the text: U+FEFF"),
        ({"Body": "**bold**"}, "Markdown left in the text: bold"),
        ({"Body": "[a](https://example.com)"}, "Markdown left in the text: link"),
        ({"Body": "## Steps"}, "Markdown left in the text: heading"),
        ({"Body": "| a | b |"}, "Markdown left in the text: table"),
        ({"Body": "a", "body": "b"}, "unknown parameter body"),
    ],
)
def test_texts_with_display_problems_are_violations(
    twilio: TwilioStandIn, fields: dict[str, str], rule: str
) -> None:
    """A text that users could not read well is accepted, but is a violation."""
    twilio.say(USER, "hi")
    assert send(twilio, **fields).status_code == 201
    assert rules(twilio.recorder) == [rule]


@pytest.mark.parametrize("body", ["2 ** 3", "`**x**`", "```\n# a\n| b |\n```", "1 | 2", "#1 ~ 2"])
def test_code_and_arithmetic_are_not_mistaken_for_markdown(
    twilio: TwilioStandIn, body: str
) -> None:
    twilio.say(USER, "hi")
    assert send(twilio, Body=body).status_code == 201
    assert twilio.recorder.violations == []


def test_outside_the_window_nothing_is_delivered(twilio: TwilioStandIn, bot: Bot) -> None:
    """A message to a user who has not written for a day is accepted, then undelivered."""
    twilio.say(USER, "hi")
    twilio.close_window(USER)
    sid = send(twilio, Body="x", StatusCallback=f"{bot.url}/status").json()["sid"]
    assert ended(twilio, sid, "undelivered").error_code == 63016
    twilio.recorder.wait_for(lambda: bot.callbacks, 5)
    assert (bot.callbacks[0]["MessageStatus"], bot.callbacks[0]["ErrorCode"]) == (
        "undelivered",
        "63016",
    )
    assert rules(twilio.recorder) == ["outside the 24 h window of the user's last message"]


def test_injected_errors_have_twilios_format(
    twilio: TwilioStandIn, client: Any, faults: Faults
) -> None:
    """A 429 has the code that Twilio documents."""
    faults.add(Fault("twilio", "send", status=429))
    with pytest.raises(TwilioRestException) as raised:
        client.messages.create(to=USER, from_=SENDER, body="x")
    assert (raised.value.status, raised.value.code) == (429, 20429)


def test_a_message_whose_answer_was_lost_is_delivered(
    twilio: TwilioStandIn, faults: Faults
) -> None:
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", "send", "vanish"))
    with pytest.raises(requests.ConnectionError):
        send(twilio, Body="x")
    assert len(twilio.messages(USER)) == 1


# Voice notes and callbacks


def test_a_voice_note_is_fetched_and_delivered(
    twilio: TwilioStandIn, bot: Bot, note: bytes
) -> None:
    """The recording is fetched by HEAD and GET, and signed callbacks report each status."""
    twilio.say(USER, "hi")
    callback = f"{bot.url}/status"
    created = send(twilio, MediaUrl=bot.publish(note), StatusCallback=callback).json()
    assert created["sid"].startswith("MM")
    voice = twilio.wait_for_voice(USER, 5)
    assert (voice.audio, voice.audio_type) == (note, "audio/ogg")
    assert bot.methods == ["HEAD", "GET"]
    twilio.recorder.wait_for(lambda: len(bot.callbacks) == 2, 5)
    assert [one["MessageStatus"] for one in bot.callbacks] == ["sent", "delivered"]
    signature = bot.headers[-1]["X-Twilio-Signature"]
    assert RequestValidator(TOKEN).validate(callback, bot.callbacks[-1], signature)
    assert twilio.recorder.violations == []


def test_an_mp3_is_delivered_too(twilio: TwilioStandIn, bot: Bot, note: bytes) -> None:
    """WhatsApp accepts MP3 as a file; other content with this type is refused."""
    twilio.say(USER, "hi")
    mp3 = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe()).note(sine(440, 1.0), "mp3")
    send(twilio, MediaUrl=bot.publish(mp3, "audio/mpeg"))
    assert twilio.wait_for_voice(USER, 5).audio_type == "audio/mpeg"
    assert twilio.recorder.violations == []
    sid = send(twilio, MediaUrl=bot.publish(note, "audio/mpeg")).json()["sid"]
    assert ended(twilio, sid, "undelivered").error_code == 63019
    assert rules(twilio.recorder) == ["the recording is no MP3"]


@pytest.mark.parametrize("call", ["text", "voice"])
def test_delivery_can_be_made_to_fail(
    twilio: TwilioStandIn, bot: Bot, note: bytes, faults: Faults, call: str
) -> None:
    """The message is accepted and later undelivered; messages of the other kind are delivered."""
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", call, "undelivered", code=63024))
    sids = {
        "text": send(twilio, Body="x", StatusCallback=f"{bot.url}/status").json()["sid"],
        "voice": send(twilio, MediaUrl=bot.publish(note)).json()["sid"],
    }
    assert ended(twilio, sids.pop(call), "undelivered").error_code == 63024
    assert ended(twilio, sids.popitem()[1], "delivered").error_code is None
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("twice", ["sent", "sent", "delivered", "delivered"]),
        ("reversed", ["delivered", "sent"]),
        ("unsigned", ["sent", "delivered"]),
    ],
)
def test_callbacks_can_be_repeated_reordered_or_forged(
    twilio: TwilioStandIn, bot: Bot, faults: Faults, kind: Any, statuses: list[str]
) -> None:
    """Twilio guarantees neither their order nor that each comes only once."""
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", "callback", kind))
    callback = f"{bot.url}/status?sending=1"
    send(twilio, Body="x", StatusCallback=callback)
    twilio.recorder.wait_for(lambda: len(bot.callbacks) == len(statuses), 5)
    assert [one["MessageStatus"] for one in bot.callbacks] == statuses
    signature = bot.headers[-1]["X-Twilio-Signature"]
    genuine = RequestValidator(TOKEN).validate(callback, bot.callbacks[-1], signature)
    assert genuine is (kind != "unsigned")


def test_callbacks_can_come_before_the_send_is_answered(
    twilio: TwilioStandIn, bot: Bot, faults: Faults
) -> None:
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", "callback", "early"))
    send(twilio, Body="x", StatusCallback=f"{bot.url}/status")
    assert [one["MessageStatus"] for one in bot.callbacks] == ["sent", "delivered"]


Spoil = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda note: b"", "the file is empty"),
        (lambda note: b"ID3" + note, "not an Ogg file"),
        (lambda note: note + note, "a chained Ogg: it holds more than one stream"),
        (lambda note: note[:-10], "the last page is cut off"),
        (lambda note: note[:-1] + bytes([note[-1] ^ 1]), "wrong checksum"),
        (lambda note: recording(channels=2), "2 channels instead of one"),
    ],
)
def test_invalid_voice_notes_are_not_delivered(
    twilio: TwilioStandIn, bot: Bot, note: bytes, spoil: Spoil, rule: str
) -> None:
    """A recording that a phone could not play is undelivered, with code 63019."""
    twilio.say(USER, "hi")
    sid = send(twilio, MediaUrl=bot.publish(spoil(note))).json()["sid"]
    message = ended(twilio, sid, "undelivered")
    assert (message.error_code, message.audio) == (63019, None)
    assert rules(twilio.recorder)[0].startswith(f"the recording is no voice note: {rule}")


@pytest.mark.parametrize("kind", ["application/octet-stream", "audio/x-wav", "audio/opus"])
def test_a_recording_needs_the_right_type(
    twilio: TwilioStandIn, bot: Bot, note: bytes, kind: str
) -> None:
    """A recording under any type but audio/ogg is undelivered."""
    twilio.say(USER, "hi")
    sid = send(twilio, MediaUrl=bot.publish(note, kind)).json()["sid"]
    assert ended(twilio, sid, "undelivered").error_code == 63019
    assert rules(twilio.recorder) == [f"the MediaUrl has content type {kind}, not audio/ogg"]


def test_a_recording_that_is_gone_is_undelivered(twilio: TwilioStandIn, bot: Bot) -> None:
    """A 404 is a violation as well; an unreachable bot is not."""
    twilio.say(USER, "hi")
    sid = send(twilio, MediaUrl=f"{bot.url}/media/gone.ogg").json()["sid"]
    assert ended(twilio, sid, "undelivered").error_code == 63019
    assert rules(twilio.recorder) == ["HEAD of the MediaUrl answered 404"]
    bot.stop()
    sid = send(twilio, MediaUrl=f"{bot.url}/media/gone.ogg").json()["sid"]
    assert ended(twilio, sid, "undelivered").error_code == 63019
    assert len(twilio.recorder.violations) == 1


def test_imperfect_voice_notes_are_delivered_with_violations(
    twilio: TwilioStandIn, bot: Bot
) -> None:
    """The note is too large for a play button, and its URL can be guessed."""
    twilio.say(USER, "hi")
    large = recording(seconds=18, rate="256k")
    assert len(large) > VOICE_NOTE_LIMIT_BYTES
    send(twilio, Body="caption", MediaUrl=bot.publish(large, name="1.ogg"))
    assert twilio.wait_for_voice(USER, 5).body == ""
    assert rules(twilio.recorder) == [
        "a text and a recording in one message: the text is lost",
        f"the note has {len(large)} bytes; over 512 KB it loses its play button",
        "the MediaUrl can be guessed: its name is shorter than 128 bits",
    ]


def test_a_refused_callback_is_a_violation(twilio: TwilioStandIn, bot: Bot) -> None:
    """A status callback must be answered with 2xx."""
    twilio.say(USER, "hi")
    bot.callback_status = 500
    send(twilio, Body="x", StatusCallback=f"{bot.url}/status")
    twilio.recorder.wait_for(lambda: len(twilio.recorder.violations) == 2, 5)
    assert rules(twilio.recorder) == ["11200 the callback answered 500"] * 2


# Listing and typing


def test_messages_are_listed_newest_first(twilio: TwilioStandIn, client: Any) -> None:
    """The list has both directions, filters by address and time, and pages."""
    for text in ("one", "two", "three"):
        twilio.say(USER, text)
    send(twilio, Body="answer")
    received = client.messages.list(to=SENDER, page_size=2)
    assert [one.body for one in received] == ["three", "two", "one"]
    assert {one.direction for one in received} == {"inbound"}
    now = datetime.now(UTC)
    assert len(client.messages.list(date_sent_after=now - timedelta(minutes=1))) == 4
    assert client.messages.list(date_sent_after=now + timedelta(minutes=1)) == []


def test_an_account_has_more_senders_than_the_bot(twilio: TwilioStandIn, client: Any) -> None:
    twilio.open_window(USER)
    twilio.send_as("whatsapp:+14155238887", USER, "offer")
    twilio.answer_by_twiml(USER, "busy")
    send(twilio, Body="answer")
    everything = client.messages.list(to=USER)
    assert [one.body for one in everything] == ["answer", "busy", "offer"]
    ours = client.messages.list(to=USER, from_=SENDER)
    assert [one.direction for one in ours] == ["outbound-api", "outbound-reply"]


def typing(twilio: TwilioStandIn, version: str, **body: Any) -> requests.Response:
    return requests.post(
        f"{twilio.url}/{version}/Indicators/Typing.json",
        auth=(ACCOUNT, TOKEN),
        timeout=5,
        **body,
    )


def test_typing_is_shown_for_an_inbound_message(twilio: TwilioStandIn, client: Any) -> None:
    """Both versions of the API accept the SID of a message that a user sent."""
    sid = twilio.say(USER, "hi").sid
    assert client.messaging.v2.typing_indicator.create(channel="whatsapp", message_id=sid).success
    body = {"channel": "WHATSAPP", "messageId": sid}
    assert typing(twilio, "v3", json=body).json() == {"success": True}
    assert twilio.typed == [sid, sid]
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("v2", {"data": {"channel": "WHATSAPP", "messageId": "{sid}"}}),
        ("v3", {"json": {"channel": "whatsapp", "messageId": "{sid}"}}),
        ("v3", {"data": {"channel": "WHATSAPP", "messageId": "{sid}"}}),
        ("v3", {"json": {"channel": "WHATSAPP", "messageId": "{sid}", "to": USER}}),
        ("v2", {"data": {"channel": "whatsapp"}}),
        ("v2", {"data": {"channel": "whatsapp", "messageId": "test123"}}),
        ("v2", {"data": {"channel": "whatsapp", "messageId": "SM" + "0" * 32}}),
    ],
)
def test_wrong_typing_calls_are_refused(
    twilio: TwilioStandIn, version: str, body: dict[str, dict[str, str]]
) -> None:
    """A wrong channel, format or message is refused, and a violation."""
    sid = twilio.say(USER, "hi").sid
    filled = {
        way: {name: value.replace("{sid}", sid) for name, value in fields.items()}
        for way, fields in body.items()
    }
    assert typing(twilio, version, **filled).status_code == 400
    assert (len(twilio.recorder.violations), twilio.typed) == (1, [])


def test_calls_above_the_concurrency_limit_get_20429(twilio: TwilioStandIn, faults: Faults) -> None:
    """A refused message is not accepted."""
    twilio.open_window(USER)
    twilio.concurrency = 1
    faults.add(Fault("twilio", "send", "hang", seconds=0.5))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(send, twilio, Body="first")
        twilio.recorder.wait_for(lambda: twilio.recorder.calls("twilio", "send"))
        surplus = send(twilio, Body="surplus")
        assert first.result().status_code == 201
    assert (surplus.status_code, surplus.json()["code"]) == (429, 20429)
    assert send(twilio, Body="third").status_code == 201
    assert [message.body for message in twilio.messages(USER)] == ["first", "third"]


def test_two_hundred_messages_at_once(twilio: TwilioStandIn, bot: Bot, note: bytes) -> None:
    """A burst of voice notes is accepted, fetched and delivered without loss."""
    twilio.say(USER, "hi")
    urls = [bot.publish(note) for _ in range(200)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda url: send(twilio, MediaUrl=url).status_code, urls))
    assert answers == [201] * 200
    twilio.wait_for_voice(USER, 20, count=200)
    assert twilio.recorder.violations == []
