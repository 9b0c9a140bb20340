"""How Twilio's form is read into a message (docs/providers/twilio.md, "Message types")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedRequest
from core.models import Attachment, Kind
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
    assert (read.reply_address, read.media_url, read.attachment) == (USER, "", None)
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
def test_audio_is_a_voice_note_whatever_the_message_type(
    content_type: str, message_type: str
) -> None:
    assert parse_message(media(content_type, message_type)).kind is Kind.VOICE


@pytest.mark.parametrize("content_type", ["", "application/ogg", "application/octet-stream"])
@pytest.mark.parametrize("message_type", ["audio", "voice", " Audio "])
def test_a_recording_is_a_voice_note_whatever_its_media_type(
    content_type: str, message_type: str
) -> None:
    read = parse_message(media(content_type, message_type))
    assert (read.kind, read.media_url, read.attachment) == (Kind.VOICE, MEDIA, None)


@pytest.mark.parametrize(
    "sent",
    [
        FORMS.image(USER),
        FORMS.document(USER, name="audio.ogg"),
        FORMS.document(USER, name="عقد الإيجار.pdf"),
        FORMS.document(USER, name="My report v1.2.docx"),
        media("image/jpeg", "document", body="IMG_0001.JPG"),
        media("application/pdf", body="invoice.pdf"),
        FORMS.sticker(USER),
        FORMS.contact(USER),
        media("text/plain; audio/ogg", "document"),
        form(MessageType="sticker"),
        form(MessageType="contacts"),
        form(MessageType="order"),
        form(MessageType="text"),
        form(MessageType="text", Body=" \n\t "),
        form(MessageType="text", Body="\u202e\x00"),
        form(),
    ],
    ids=lambda sent: f"{sent.get('MessageType')}-{sent.get('MediaContentType0')}-{sent['Body']!r}",
)
def test_a_message_without_text_and_audio_is_unsupported(sent: Form) -> None:
    """The ``Body`` of a document is its file name, which is no question."""
    read = parse_message(sent)
    assert (read.kind, read.text) == (Kind.UNSUPPORTED, "")
    assert read.attachment is not Attachment.MISSING


@pytest.mark.parametrize(
    "sent",
    [
        FORMS.image(USER, caption="What is this?"),
        FORMS.video(USER, caption="Look at www.acme.com"),
        FORMS.image(USER, caption="invoice.pdf"),
        FORMS.document(USER, name="Is this bill right?"),
        FORMS.document(USER, name="I mean page 1.5"),
        FORMS.document(USER, name="See https://acme.com/terms.html"),
        FORMS.document(USER, name="Two lines:\ninvoice.pdf"),
        FORMS.document(USER, name="هل هذه الفاتورة صحيحة؟"),
    ],
    ids=lambda sent: str(sent["Body"]),
)
def test_a_caption_is_read_as_text_that_came_with_a_file(sent: Form) -> None:
    read = parse_message(sent)
    assert (read.kind, read.text) == (Kind.TEXT, sent["Body"])
    assert read.attachment is Attachment.UNSEEN


def test_the_caption_of_a_picture_that_is_missing_is_read() -> None:
    read = parse_message(form(MessageType="image", Body="What is this?"))
    assert (read.kind, read.text) == (Kind.TEXT, "What is this?")
    assert read.attachment is Attachment.MISSING


@pytest.mark.parametrize(
    "sent",
    [
        *(form(MessageType=kind) for kind in ("audio", "voice", "image", "video", "document")),
        form(MessageType="document", Body="invoice.pdf"),
        form(MessageType="Audio"),
        form(MessageType="location"),
        form(MessageType="location", Latitude="1"),
        form(MessageType="unsupported"),
        form(NumMedia="1", MediaContentType0="audio/ogg", MessageType="audio"),
        form(NumMedia="1", MediaContentType0="audio/ogg", MediaUrl0=""),
        form(NumMedia="2"),
    ],
    ids=str,
)
def test_a_content_that_twilio_did_not_pass_on_is_missing(sent: Form) -> None:
    read = parse_message(sent)
    assert (read.kind, read.text, read.media_url) == (Kind.UNSUPPORTED, "", "")
    assert read.attachment is Attachment.MISSING


@pytest.mark.parametrize(
    "sent",
    [
        FORMS.reaction(USER),
        form(MessageType="reaction", Body="👍"),
        form(MessageType="Reaction"),
        form(MessageType="poll_update"),
    ],
)
def test_reactions_and_unknown_empty_types_get_no_answer(sent: Form) -> None:
    assert parse_message(sent).kind is Kind.SILENT


def test_an_unknown_type_that_carries_words_is_read() -> None:
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
def test_pressed_buttons_and_rows_are_read_as_text(sent: Form, text: str) -> None:
    read = parse_message(sent)
    assert (read.kind, read.text) == (Kind.TEXT, text)


def test_a_count_that_is_left_out_means_no_media() -> None:
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
def test_the_address_is_kept_as_it_came(sender: str) -> None:
    assert parse_message(FORMS.text(sender, "Hi")).reply_address == sender


USER_ID = "whatsapp:US.13491208655302741918"


@pytest.mark.parametrize("address", [USER, USER_ID])
def test_a_user_is_known_by_the_user_id_whether_the_number_is_shown_or_hidden(address: str) -> None:
    read = parse_message(form(From=address, ExternalUserId=USER_ID, Body="Hi"))
    assert (read.sender, read.reply_address) == (USER_ID, address)


@pytest.mark.parametrize(
    "user_id",
    ["", " ", "US.13491208655302741918", "whatsapp:+14155550199", "whatsapp:US.", "whatsapp:us.1"]
    + ["whatsapp:US." + "1" * 129, "whatsapp:US.1\0", "whatsapp:US.1 2", f"{USER_ID}\n", "null"],
)
def test_a_malformed_user_id_is_ignored(user_id: str) -> None:
    """Otherwise users with the same wrong value would share a session."""
    read = parse_message(form(ExternalUserId=user_id, Body="Hi"))
    assert (read.sender, read.reply_address, read.address) == (USER, USER, "")


@pytest.mark.parametrize("number", ["15551234567", "5215512345678", "1"])
def test_a_plus_that_curl_did_not_encode_is_restored(number: str) -> None:
    """``curl -d`` sends the plus as it is, and forms read it as a blank."""
    assert parse_message(form(From=f"whatsapp: {number}")).sender == f"whatsapp:+{number}"


@pytest.mark.parametrize("sid", [SM, MM])
def test_a_message_is_known_by_its_sid(sid: str) -> None:
    assert parse_message(form(MessageSid=sid)).sid == sid


@pytest.mark.parametrize("sid", ["test123", "a", "A-b_9", "x" * 64])
def test_a_short_word_is_accepted_as_sid_from_curl_only(sid: str) -> None:
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
def test_a_message_without_a_proper_address_is_refused(sender: str) -> None:
    with pytest.raises(MalformedRequest):
        parse_message(form(From=sender))


def test_a_message_has_the_time_of_its_arrival() -> None:
    earlier, later = parse_message(form()), parse_message(form())
    assert earlier.received_at <= later.received_at


FIELDS = st.sampled_from(
    ["MessageSid", "From", "Body", "NumMedia", "MessageType", "MediaUrl0"]
    + [
        "ExternalUserId",
        "MediaContentType0",
        "Latitude",
        "Longitude",
        "Label",
        "Address",
        "ButtonText",
        "ListTitle",
    ]
)
VALUES = st.one_of(
    st.text(max_size=70),
    st.sampled_from([SM, USER, "0", "1", "audio/ogg", "location", "reaction", "text", "image"]),
)


@given(st.dictionaries(FIELDS, VALUES))
def test_any_form_is_read_or_malformed(fields: Form) -> None:
    """Nothing but ``MalformedRequest`` ever comes out, and never an unclean text."""
    try:
        read = parse_message(fields)
    except MalformedRequest:
        return
    assert read.reply_address in (fields["From"], fields["From"].replace(": ", ":+", 1))
    assert read.sender in (read.reply_address, fields.get("ExternalUserId"))
    assert (read.text != "") or read.kind is not Kind.TEXT
    assert not set(read.text) & set("\x00\x07\x1b\r\u202e")
    # No database takes one.
    assert "\0" not in read.sender + read.reply_address + read.media_url
