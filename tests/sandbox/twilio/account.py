"""The account of the Twilio stand-in, and requests to it."""

from __future__ import annotations

import subprocess
from typing import Any

import imageio_ffmpeg
import requests

from sandbox.call_recorder import CallRecorder
from sandbox.twilio.standin import TwilioStandIn

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


def wait_for_status(twilio: TwilioStandIn, sid: str, status: str) -> Any:
    """Wait until the message with this SID has ``status``; returns it."""

    def found() -> list[Any]:
        return [one for one in twilio.messages() if (one.sid, one.status) == (sid, status)]

    return twilio.recorder.wait_for(found, 5)[0]
