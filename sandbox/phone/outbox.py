"""What the user of a phone sends: each kind of message, posted to the bridge by Twilio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.json_api import InvalidRequest
from sandbox.phone import recordings
from sandbox.phone.conversation import Conversations, Sent
from sandbox.phone.recordings import Recordings
from sandbox.phone.switches import Switches
from sandbox.twilio.content import Content
from sandbox.twilio.forms import Form
from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.webhook import Delivery

# docs/providers/twilio.md, "Message types": longer texts of users are not documented.
LONGEST_TEXT = 1600
JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Place:
    """A location as WhatsApp sends it; the coordinates are decimal degrees."""

    latitude: str
    longitude: str
    label: str
    address: str


PLACES = (
    Place("24.7116", "46.6744", "Kingdom Centre", "King Fahd Road, Riyadh"),
    Place("37.7879", "-122.3937", "375 Beale Street", "San Francisco"),
    Place("48.8584", "2.2945", "", ""),
)


class Outbox:
    """Each method posts one message of ``user`` and returns the answer of the bridge's webhook.

    They raise ``InvalidRequest`` if there is no such message.
    """

    def __init__(
        self,
        *,
        twilio: TwilioStandIn,
        conversations: Conversations,
        recordings: Recordings,
        switches: Switches,
    ) -> None:
        self._twilio = twilio
        self._conversations = conversations
        self._recordings = recordings
        self._switches = switches

    def text(self, user: str, text: object) -> Delivery:
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT:
            raise InvalidRequest(f"text must have 1 to {LONGEST_TEXT} characters.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidRequest("text must have no half of a character.")
        return self._post(user, "text", self._twilio.forms.text(user, text), text=text)

    def recording(self, user: str, recording: bytes) -> Delivery:
        """A recording of the browser, in any format that ffmpeg decodes."""
        return self._voice(user, self._recordings.note(recording))

    def sample(self, user: str, name: object) -> Delivery:
        return self._voice(user, recordings.sample(name))

    def picture(self, user: str, picture: bytes, caption: str) -> Delivery:
        if not picture.startswith(JPEG):
            raise InvalidRequest("The picture must be a JPEG, as WhatsApp sends it.")
        form = self._twilio.forms.image(user, picture, caption=caption)
        return self._post(user, "picture", form, text=caption, file=picture, file_type="image/jpeg")

    def place(self, user: str, number: object) -> Delivery:
        """One of ``PLACES``, by its index."""
        # Python's ``True`` is an ``int`` too.
        if type(number) is not int or not 0 <= number < len(PLACES):
            raise InvalidRequest("There is no such place.")
        place = PLACES[number]
        form = self._twilio.forms.location(
            user, place.latitude, place.longitude, address=place.address, label=place.label
        )
        return self._post(user, "location", form, place=vars(place))

    def choice(self, user: str, sid: object, choice_id: object) -> Delivery:
        """The button or row with this id, of the message with this SID."""
        forms, replied = self._twilio.forms, str(sid)
        messages = (each for each in self._twilio.messages(user) if each.sid == sid)
        content = next((each.content for each in messages), None) or Content("")
        button = next((each for each in content.buttons if each.id == choice_id), None)
        row = next((each for each in content.rows if each.id == choice_id), None)
        if button:
            form = forms.button(user, button.title, payload=button.id, replied=replied)
        elif row:
            form = forms.list_choice(user, row.title, row=row.id, replied=replied)
        else:
            raise InvalidRequest("There is no such choice.")
        return self._post(user, "choice", form, text=form["Body"], replied=replied)

    def _voice(self, user: str, note: bytes) -> Delivery:
        form = self._twilio.forms.voice(user, note, ready=self._switches.readiness())
        return self._post(user, "voice", form, file=note, file_type="audio/ogg")

    def _post(self, user: str, kind: str, form: Form, **content: Any) -> Delivery:
        sent = Sent(sid=form["MessageSid"], user=user, kind=kind, **content)
        return self._conversations.send(sent, form)
