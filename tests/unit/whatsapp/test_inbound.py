"""Parsing Twilio's form into a message (docs/providers/twilio.md, "Message types")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedRequest
from core.models import Kind
from sandbox.twilio.forms import Form, InboundForms
from whatsapp.inbound import ADDRESS_LIMIT, parse_message

USER = "whatsapp:+14155550100"
SM, MM = "SM" + "1" * 32, "MM" + "3" * 32
MEDIA = f"https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/{MM}/Media/ME4"
FORMS = InboundForms(
    account_sid="AC1", sender="whatsapp:+14155238886", store_media=lambda sid, media: MEDIA
)


def form(**fields: str) -> Form:
    return {"MessageSid": SM, "From": USER, "NumMedia": "0", "Body": ""} | fields


def media(content_type: str, message_type: str = "", body: str = "") -> Form:
    return form(
        MessageSid=MM,
        NumMedia="1",
        MediaUrl0=MEDIA,
        MediaContentType0=content_type,
        MessageType=message_type,
        Body=body,
    )


def test_a_text() -> None:
    read = parse_message(FORMS.text(USER, "Where is my order?\n\nThanks"))
    assert (read.kind, read.text) == (Kind.TEXT, "Where is my order?\n\nThanks")
    assert (read.sender, read.media_url) == (USER, "")
    assert read.sid.startswith("SM")


def test_a_voice_note() -> None:
    read = parse_message(FORMS.voice(USER, b"OggS"))
    assert (read.kind, read.media_url, read.text) == (Kind.VOICE, MEDIA, "")


@pytest.mark.parametrize(
    "content_type",
    ["audio/ogg", "audio/ogg; codecs=opus", "Audio/OGG;codecs=opus", " audio/mpeg ", "audio/mp4"]
    + ["audio/aac", "audio/amr", "audio/3gpp"],
)
@pytest.mark.parametrize("message_type", ["audio", "voice", "document", ""])
def test_audio_is_a_voice_note_whatever_its_message_type(
    content_type: str, message_type: str
) -> None:
    assert parse_message(media(content_type, message_type)).kind is Kind.VOICE


@pytest.mark.parametrize(
    ("content_type", "message_type"),
    [
        ("", "audio"),
        ("video/mp4", "audio"),
        ("text/plain", "voice"),
        ("application/ogg", "document"),
        ("application/octet-stream", ""),
        ("", ""),
    ],
)
def test_a_recording_is_heard_whatever_its_media_type(content_type: str, message_type: str) -> None:
    """What was sent as audio, or as nothing that is named, is judged by its bytes later."""
    assert parse_message(media(content_type, message_type)).kind is Kind.VOICE


@pytest.mark.parametrize(
    "sent",
    [
        FORMS.image(USER),
        FORMS.image(USER, caption="What is this?"),
        FORMS.document(USER, name="audio.ogg"),
        FORMS.sticker(USER),
        FORMS.video(USER, caption="Look"),
        FORMS.contact(USER),
        media("", "document"),
        media("application/octet-stream", "document"),
        media("text/plain; audio/ogg", "document"),
        media("video/mp4"),
        form(NumMedia="2", MessageType="image"),
        form(MessageType="contacts"),
        form(MessageType="order"),
        form(MessageType="text"),
        form(MessageType="text", Body=" \n\t "),
        form(MessageType="text", Body="\u202e\x00"),
        form(),
    ],
    ids=lambda sent: f"{sent.get('MessageType')}-{sent.get('MediaContentType0')}-{sent['Body']!r}",
)
def test_a_message_without_text_or_audio_is_unsupported(sent: Form) -> None:
    """A caption alone is no question, and the ``Body`` of a document is its file name."""
    assert parse_message(sent).kind is Kind.UNSUPPORTED


@pytest.mark.parametrize(
    "sent",
    [
        FORMS.reaction(USER),
        form(MessageType="reaction", Body="👍"),
        form(MessageType="Reaction"),
        form(MessageType="poll_update"),
        form(MessageType="unsupported"),
        form(MessageType="location"),
    ],
)
def test_reactions_and_unknown_empty_types_are_silent(sent: Form) -> None:
    assert parse_message(sent).kind is Kind.SILENT


def test_an_unknown_type_with_a_body_is_a_text() -> None:
    read = parse_message(form(MessageType="ephemeral_text", Body="Hi"))
    assert (read.kind, read.text) == (Kind.TEXT, "Hi")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (FORMS.button(USER, "Confirm"), "Confirm"),
        (FORMS.list_choice(USER, "Large"), "Large"),
        (form(MessageType="button", ButtonText="Yes", ButtonPayload="y"), "Yes"),
        (form(MessageType="interactive", ListTitle="Large", ListId="l"), "Large"),
        (form(Body="Old webhook without a type"), "Old webhook without a type"),
        (form(NumMedia="", Body="no count"), "no count"),
        (form(Body="  padded \r\n"), "padded"),
        (form(Body="a\x00b\u202ec\r\nd"), "abc\nd"),
        (form(Body="السلام عليكم"), "السلام عليكم"),
        (form(Body="voice on"), "voice on"),
    ],
)
def test_buttons_list_rows_and_old_webhooks_are_texts(sent: Form, text: str) -> None:
    read = parse_message(sent)
    assert (read.kind, read.text) == (Kind.TEXT, text)


def test_a_missing_media_count_means_no_media() -> None:
    assert parse_message({"MessageSid": SM, "From": USER, "Body": "Hi"}).kind is Kind.TEXT


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        (FORMS.location(USER), "Twilio Inc, 375 Beale St (37.7879277, -122.3937508)"),
        (FORMS.location(USER, "1.5", "-2", label="", address=""), "1.5, -2"),
        (FORMS.location(USER, "1.5", "-2", label="", address="Main St"), "Main St (1.5, -2)"),
        (FORMS.location(USER, "0", "0", label="برج", address=""), "برج (0, 0)"),
        (FORMS.location(USER, "1", "2", label="a\x00\u202eb", address=""), "ab (1, 2)"),
        (FORMS.location(USER, "1\u202e", "2\x07", label="a", address=""), "a (1, 2)"),
    ],
)
def test_a_location_is_its_name_and_coordinates(sent: Form, place: str) -> None:
    read = parse_message(sent)
    assert (read.kind, read.text) == (Kind.LOCATION, place)


@pytest.mark.parametrize(
    "sender",
    [
        "whatsapp:US.13491208655302741918",
        "whatsapp:CO." + "9aZ" * 42,
        "whatsapp:CC.ENT.4480491918930694",
        "whatsapp:+5215512345678",
        "whatsapp:5215512345678",
        "whatsapp:  5215512345678",
        "whatsapp:\t5215512345678",
        "whatsapp: +5215512345678",
        "whatsapp: US.13491208655302741918",
        "whatsapp: bot",
        "whatsapp: ",
        " whatsapp: 5215512345678",
        "WhatsApp: 5215512345678",
        "sms: 5215512345678",
        "whatsapp:US.1 whatsapp: 5215512345678",
        "x" * ADDRESS_LIMIT,
    ],
)
def test_the_sender_is_not_changed(sender: str) -> None:
    assert parse_message(FORMS.text(sender, "Hi")).sender == sender


@pytest.mark.parametrize("number", ["15551234567", "5215512345678", "1"])
def test_a_plus_that_curl_did_not_encode_is_restored(number: str) -> None:
    """``curl -d`` sends the plus unencoded, and form parsers decode it as a blank."""
    assert parse_message(form(From=f"whatsapp: {number}")).sender == f"whatsapp:+{number}"


@pytest.mark.parametrize("sid", [SM, MM])
def test_the_sid_is_parsed(sid: str) -> None:
    assert parse_message(form(MessageSid=sid)).sid == sid


@pytest.mark.parametrize("sid", ["test123", "a", "A-b_9", "x" * 64])
def test_other_forms_of_sid_are_accepted_from_curl_only(sid: str) -> None:
    assert parse_message(form(MessageSid=sid), by_curl=True).sid == sid
    with pytest.raises(MalformedRequest):
        parse_message(form(MessageSid=sid))


@pytest.mark.parametrize(
    "sid",
    ["", " ", "SM 1", "SM1\n", "../../etc/passwd", "a" * 65, "SM1;", "SM\u00e9", "%2e%2e", "\x00"]
    + ["'; DROP TABLE turns; --", "SM١٢٣", SM + "MessageTypetext" + "a" * 20],
)
def test_a_hostile_sid_is_refused(sid: str) -> None:
    for by_curl in (False, True):
        with pytest.raises(MalformedRequest):
            parse_message(form(MessageSid=sid), by_curl=by_curl)


@pytest.mark.parametrize("sender", ["", "x" * (ADDRESS_LIMIT + 1), "whatsapp:+1\0"])
def test_a_missing_or_oversized_sender_is_refused(sender: str) -> None:
    with pytest.raises(MalformedRequest):
        parse_message(form(From=sender))


def test_the_time_of_arrival_is_recorded() -> None:
    earlier, later = parse_message(form()), parse_message(form())
    assert earlier.received_at <= later.received_at


FIELDS = st.sampled_from(
    ["MessageSid", "From", "Body", "NumMedia", "MessageType", "MediaUrl0"]
    + ["MediaContentType0", "Latitude", "Longitude", "Label", "Address", "ButtonText", "ListTitle"]
)
VALUES = st.one_of(
    st.text(max_size=70),
    st.sampled_from([SM, USER, "0", "1", "audio/ogg", "location", "reaction", "text", "image"]),
)


@given(st.dictionaries(FIELDS, VALUES))
def test_any_form_is_parsed_or_malformed(fields: Form) -> None:
    """No form raises anything but ``MalformedRequest`` or leaves control characters in the text."""
    try:
        read = parse_message(fields)
    except MalformedRequest:
        return
    assert read.sender in (fields["From"], fields["From"].replace(": ", ":+", 1))
    assert (read.text != "") or read.kind is not Kind.TEXT
    assert not set(read.text) & set("\x00\x07\x1b\r\u202e")
    # PostgreSQL stores no NUL.
    assert "\0" not in read.sender + read.media_url
