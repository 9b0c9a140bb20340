"""Server-sent events: what has changed on a page since the last event."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sandbox.call_recorder import CallRecorder

# A browser that has lost the connection tries again after this time.
RETRY_MILLISECONDS = 1000
# What is not announced, such as log lines, is looked for as often.
LOOK_SECONDS = 0.3
# No more often than that, however fast things change.
PAUSE_SECONDS = 0.05
# A comment shows whether the browser is still there.
KEEP_ALIVE_SECONDS = 10.0

Parts = Callable[[], Mapping[str, Any]]


def events(parts: Parts, *, recorder: CallRecorder, stopped: threading.Event) -> Iterator[str]:
    """An event with the whole of each part, first at once and then whenever it has changed."""
    sent: dict[str, str] = {}
    spoke_at = time.monotonic()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while not stopped.is_set():
        for name, part in parts().items():
            data = json.dumps(part, ensure_ascii=False)
            if sent.get(name) != data:
                sent[name], spoke_at = data, time.monotonic()
                yield f"event: {name}\ndata: {data}\n\n"
        if time.monotonic() - spoke_at > KEEP_ALIVE_SECONDS:
            spoke_at = time.monotonic()
            yield ": still here\n\n"
        stopped.wait(PAUSE_SECONDS)
        _wait_for_change(recorder)


def _wait_for_change(recorder: CallRecorder) -> None:
    looks = itertools.count()
    try:
        recorder.wait_for(lambda: next(looks) > 0, LOOK_SECONDS)
    except TimeoutError:
        return
