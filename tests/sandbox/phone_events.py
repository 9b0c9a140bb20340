"""Reads the events that the phone's server sends to its page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests


def read_parts(page: requests.Response, name: str) -> Iterator[Any]:
    """Yields the data of each event with this name, decoded from JSON, as soon as it arrives."""
    event = ""
    for line in page.iter_lines(chunk_size=1, decode_unicode=True):
        field, _, value = line.partition(": ")
        event = value if field == "event" else event
        if field == "data" and event == name:
            yield json.loads(value)
