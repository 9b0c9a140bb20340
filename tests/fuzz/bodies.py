"""Random bodies, as strangers or a future version of Twilio might post them."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, quote_from_bytes, urlencode

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

NAMES = (
    "MessageSid SmsSid AccountSid From To Body NumMedia MessageType MediaUrl0 MediaContentType0 "
    "Latitude Longitude Label Address ButtonText ButtonPayload ListTitle ProfileName WaId "
    "MessageStatus ErrorCode sending"
).split()
# Texts that often break parsers.
SPECIAL = [
    *("", " ", "\x00", "\x1b[2J", "\u202egnp.exe", "\u2066", "\ufeff", "\ufffe", "\U0010ffff"),
    *("مرحبا", "नमस्ते", "你好", "שלום", "🏳️‍🌈", "Z̷͎͝a̴̡lgo", "a\r\nb", "%s%n", "{0}", "${x}"),
    *("../../etc/passwd", "'; DROP TABLE turns; --", "<script>", "&lt;Message&gt;", "]]>"),
    *("0", "1", "-1", "9" * 400, "NaN", "1e999", "true", "null", "[]", "text", "audio", "location"),
    *("audio/ogg", "image/jpeg", "whatsapp:+14155550100", "whatsapp:US.1349", "whatsapp: 1415555"),
    *("SM" + "1" * 32, "MM" + "3" * 32, "delivered", "read", "failed", "63016"),
]
SHORT = st.one_of(st.sampled_from(SPECIAL), st.text(max_size=40))
VALUES = st.one_of(
    SHORT,
    SHORT,
    st.text(min_size=1, max_size=8).map(lambda text: text * 300),
    # At most 64 KB.
    st.sampled_from("aé你🚀 \u0300").map(lambda sign: sign * (65536 // len(sign.encode()))),
)
OWN = ("MessageSid", "From", "Body")
# Forms that are nearly complete, so that many are accepted.
LIKELY = st.fixed_dictionaries(
    {
        "MessageSid": st.from_regex(r"SM[0-9a-f]{32}", fullmatch=True),
        "From": st.from_regex(r"whatsapp:\+1[2-9][0-9]{9}", fullmatch=True),
        "Body": VALUES,
    },
    # Another account is refused, whatever else is there.
    optional={name: SHORT for name in NAMES if name not in (*OWN, "AccountSid")},
)
FORMS = st.one_of(
    LIKELY, st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=9)), SHORT)
)


def said(body: bytes) -> list[str]:
    """The texts that must not show up in the log; words of the log itself are left out."""
    fields = parse_qsl(body.decode(errors="replace"), errors="werkzeug.url_quote")
    return [
        value
        for name, value in fields
        if name in ("Body", "Label", "Address") and value not in SPECIAL
    ]


def bodies() -> SearchStrategy[bytes]:
    """Encoded forms, some of them damaged, and bytes that are no form at all."""
    whole = FORMS.map(lambda form: urlencode(form).encode())
    # Bytes that are not UTF-8, and incomplete percent escapes.
    raw = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=30)), max_size=6).map(
        lambda pairs: "&".join(
            f"{name}={quote_from_bytes(value)}" for name, value in pairs
        ).encode()
    )
    broken = st.builds(lambda body, cut: body[:cut] + b"%" + body[cut:], whole, st.integers(0, 400))
    return st.one_of(whole, whole, raw, broken, st.binary(max_size=300))


def addresses() -> SearchStrategy[str]:
    """The paths that bodies are posted to."""
    status = st.text(max_size=12).map(lambda name: f"/status?sending={quote(name)}")
    return st.one_of(st.just("/"), st.just("/"), st.just("/"), status)
