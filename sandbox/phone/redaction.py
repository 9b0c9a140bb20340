"""What may be shown of a call to a provider: as in the logs, no words, numbers or secrets."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs

from sandbox.call_recorder import Body

# The fields whose texts are technical terms of the providers, and no words of people.
OPEN_FIELDS = frozenset(
    "api_version channel code direction error error_code file_format grant_type language_code "
    "model_id num_media num_segments output_format status tag_audio_events "
    "timestamps_granularity token_type type".split()
)
# The log has them, too: the SID of a message is the id of its turn.
MESSAGE_SID = re.compile(r"(SM|MM)[0-9a-f]{32}")
READABLE = "application/json", "application/x-www-form-urlencoded"


def outline(body: Body | None) -> str:
    """The fields of a body, with the lengths of their texts; of a file its type and size."""
    if body is None or not body.size:
        return ""
    media_type = body.content_type.partition(";")[0]
    if media_type not in READABLE or not body.content:
        return f"{media_type or 'untyped'}, {body.size} bytes"
    return json.dumps(_redacted(_parsed(media_type, body.content)), indent=1, ensure_ascii=False)


def _parsed(media_type: str, content: bytes) -> Any:
    text = content.decode(errors="replace")
    if media_type != READABLE[0]:
        fields = parse_qs(text, keep_blank_values=True)
        return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    try:
        return json.loads(text)
    except ValueError:
        return text


def _redacted(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _redacted(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_redacted(each, name) for each in value]
    if not isinstance(value, str) or name in OPEN_FIELDS or MESSAGE_SID.fullmatch(value):
        return value
    return f"… {len(value)} characters" if value else ""
