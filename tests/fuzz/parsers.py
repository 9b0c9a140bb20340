"""Fuzzes our parsers by coverage: ``python -m tests.fuzz.parsers ogg``.

atheris (libFuzzer) mutates samples to reach new lines. Options after the name go to it, such as
``-max_total_time=60``. It ends with a traceback if a parser raises anything but its own error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

# atheris takes the names of top-level packages.
with atheris.instrument_imports(
    include=["agentforce", "audio", "http_clients", "markdown_it", "text", "web", "whatsapp"]
):
    from agentforce import read_stream
    from audio.formats import detect_format
    from audio.frames import exceeds_duration
    from audio.ogg import join
    from core.errors import AgentError, AudioUnreadable, ForgedRequest, MalformedRequest
    from http_clients.event_stream import read_events
    from text.markdown import clean, to_speech, to_whatsapp
    from text.splitting import split_message
    from web.forms import parse_form
    from whatsapp.inbound import parse_message
    from whatsapp.signature import Signature
    from whatsapp.status_callbacks import parse_status

from sandbox import CREDENTIALS
from tests.fuzz.samples import SAMPLES

SIGNATURE = Signature(
    auth_token=CREDENTIALS["TWILIO_AUTH_TOKEN"],
    account_sid=CREDENTIALS["TWILIO_ACCOUNT_SID"],
    public_url="http://127.0.0.1",
)


def ogg(data: bytes) -> None:
    detect_format(data)
    exceeds_duration(data, 300.0)
    with suppress(AudioUnreadable):
        join([data])
        join([data, data])


def markdown(data: bytes) -> None:
    text = data.decode(errors="replace")
    shown = to_whatsapp(text)
    assert shown == clean(shown)
    assert to_speech(text) == clean(to_speech(text))
    assert all(len(part) <= 1600 for part in split_message(shown))


def stream(data: bytes) -> None:
    with suppress(AgentError):
        read_stream(read_events(iter([data])))


def request(data: bytes) -> None:
    try:
        fields = parse_form(data)
    except MalformedRequest:
        return
    with suppress(ForgedRequest):
        SIGNATURE.check("/", "", fields, {})
    form = dict(fields)
    for read in (parse_message, lambda form: parse_status(form, form)):
        with suppress(MalformedRequest):
            read(form)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (ogg, markdown, stream, request)
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"Which one? {', '.join(TARGETS)}")
    program, name, *options = sys.argv
    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(SAMPLES[name]()):
            (Path(corpus) / str(number)).write_bytes(sample)
        atheris.Setup([program, *options, corpus], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
