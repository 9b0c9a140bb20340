"""The forms that Twilio posts for messages of WhatsApp users.

docs/providers/twilio.md, "Message types".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from sandbox.twilio.media import READY, Media, Ready
from sandbox.twilio.sid import new_sid

Form = dict[str, str]
StoreMedia = Callable[[str, Media], str]

VCARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Mansour;Layla;;;\r\nFN:Layla Mansour\r\n"
    "TEL;type=CELL;waid=14155550177:+1 415 555 0177\r\nEND:VCARD\r\n"
)


class InboundForms:
    """Builds the forms of all kinds of messages.

    ``sender`` is the bot's WhatsApp address. The first argument of each method is the user's:
    ``whatsapp:+E164``, or ``whatsapp:CC.<id>`` for a user who hides the number.
    """

    def __init__(
        self, *, account_sid: str, sender: str, store_media: StoreMedia, profile_name: str = "Ana"
    ) -> None:
        self._account_sid = account_sid
        self._sender = sender
        self._store_media = store_media
        self._profile_name = profile_name

    def text(self, user: str, body: str) -> Form:
        return self._form(user, "text", body=body)

    def voice(
        self, user: str, audio: bytes, *, content_type: str = "audio/ogg", ready: Ready = READY
    ) -> Form:
        """A note recorded with the microphone button; its ``MessageType`` is ``audio``."""
        return self._with_media(user, "audio", Media(audio, content_type, ready))

    def image(self, user: str, image: bytes = b"\xff\xd8\xff\xd9", *, caption: str = "") -> Form:
        return self._with_media(user, "image", Media(image, "image/jpeg"), body=caption)

    def document(
        self, user: str, content: bytes = b"%PDF-1.4\n%%EOF\n", *, name: str = "invoice.pdf"
    ) -> Form:
        """A PDF; ``Body`` is the name of the file."""
        return self._with_media(user, "document", Media(content, "application/pdf"), body=name)

    def sticker(self, user: str, image: bytes = b"RIFF\x04\0\0\0WEBP") -> Form:
        return self._with_media(user, "sticker", Media(image, "image/webp"))

    def video(self, user: str, video: bytes = b"\0\0\0\x08ftyp", *, caption: str = "") -> Form:
        return self._with_media(user, "video", Media(video, "video/mp4"), body=caption)

    def contact(self, user: str, card: str = VCARD) -> Form:
        return self._with_media(user, "contacts", Media(card.encode(), "text/vcard"))

    def location(
        self,
        user: str,
        latitude: str = "37.7879277",
        longitude: str = "-122.3937508",
        *,
        address: str = "375 Beale St",
        label: str = "Twilio Inc",
    ) -> Form:
        """A location; an empty ``address`` or ``label`` is left out, as for a bare position."""
        fields = {"Latitude": latitude, "Longitude": longitude, "Address": address, "Label": label}
        return self._form(
            user, "location", **{name: value for name, value in fields.items() if value}
        )

    def button(self, user: str, text: str, *, payload: str = "order_42", replied: str = "") -> Form:
        """A quick reply to the message with the SID ``replied``, by default a random one."""
        extra = {"ButtonText": text, "ButtonPayload": payload, "ButtonType": "REPLY"}
        return self._reply(user, text, replied, extra)

    def list_choice(self, user: str, title: str, *, row: str = "row_1", replied: str = "") -> Form:
        return self._reply(user, title, replied, {"ListId": row, "ListTitle": title})

    def reaction(self, user: str) -> Form:
        """An undocumented type without content; its name is a guess."""
        return self._form(user, "reaction")

    def _reply(self, user: str, body: str, replied: str, extra: Form) -> Form:
        return self._form(
            user,
            "interactive",
            body=body,
            OriginalRepliedMessageSender=self._sender,
            OriginalRepliedMessageSid=replied or new_sid("MM"),
            Forwarded="false",
            FrequentlyForwarded="false",
            **extra,
        )

    def _with_media(self, user: str, kind: str, media: Media, *, body: str = "") -> Form:
        sid = new_sid("MM")
        return self._form(
            user,
            kind,
            sid=sid,
            body=body,
            NumMedia="1",
            MediaUrl0=self._store_media(sid, media),
            MediaContentType0=media.content_type,
        )

    def _form(self, user: str, kind: str, *, sid: str = "", body: str = "", **extra: str) -> Form:
        sid = sid or new_sid("SM")
        user_fields = self._user_fields(user)
        context = {"ProfileName": self._profile_name}
        context |= {"WaId": user_fields["WaId"]} if "WaId" in user_fields else {}
        metadata = {"type": "whatsapp", "data": {"context": context}}
        return {
            "SmsMessageSid": sid,
            "NumMedia": "0",
            "ProfileName": self._profile_name,
            "MessageType": kind,
            "SmsSid": sid,
            "SmsStatus": "received",
            "Body": body,
            "To": self._sender,
            "NumSegments": "1",
            "ReferralNumMedia": "0",
            "MessageSid": sid,
            "AccountSid": self._account_sid,
            "ChannelMetadata": json.dumps(metadata, ensure_ascii=False, separators=(",", ":")),
            "ApiVersion": "2010-04-01",
            **user_fields,
            **extra,
        }

    def _user_fields(self, user: str) -> Form:
        """The sender's fields; a hidden number has no ``WaId``, only a business-scoped id."""
        if not user.startswith("whatsapp:+"):
            return {"From": user, "ExternalUserId": user}
        number = user.removeprefix("whatsapp:+")
        hidden = uuid.uuid5(uuid.NAMESPACE_URL, number).int % 10**20
        return {"From": user, "WaId": number, "ExternalUserId": f"whatsapp:US.{hidden:020d}"}
