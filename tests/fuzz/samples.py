"""Valid inputs of the parsers, from which a fuzzer starts."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import imageio_ffmpeg

from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine


def ogg() -> list[bytes]:
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    return [codec.note(sine(300, seconds), "ogg") for seconds in (0.1, 1.5)]


def markdown() -> list[bytes]:
    return [
        b"# T\n**b** _i_ ~~s~~ `c` [l](http://a.b)\n\n- a\n  1. b\n\n> q\n\n```\nx\n```",
        "| a | b |\n|---|---|\n| مرحبا | 🚀 |\n\n<a href='x'>y</a> <!-- z --> &#x202e;".encode(),
    ]


def stream() -> list[bytes]:
    messages = [
        '{"type":"TextChunk","message":"Hello"}',
        '{"type":"ValidationFailureChunk","offset":5}',
        '{"type":"Inform","message":"Hello"}',
        '{"type":"EndOfTurn"}',
    ]
    return ["".join(f'event: E\ndata: {{"message":{each}}}\n\n' for each in messages).encode()]


def request() -> list[bytes]:
    form = {"MessageSid": "SM1", "From": "whatsapp:+1", "Body": "Hi", "NumMedia": "0"}
    body = urlencode(form)
    head = [
        "POST / HTTP/1.1",
        "Content-Type: application/x-www-form-urlencoded",
        "X-Twilio-Signature: AAAA",
        f"Content-Length: {len(body)}",
    ]
    return [body.encode(), "\r\n".join([*head, "", body]).encode()]


SAMPLES: dict[str, Callable[[], list[bytes]]] = {
    sample.__name__: sample for sample in (ogg, markdown, stream, request)
}
