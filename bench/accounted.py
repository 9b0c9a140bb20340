"""gunicorn.conf.py for a process whose CPU time is booked by what it does (``turn_costs.py``)."""

import os
import runpy
import signal
from pathlib import Path
from typing import Any

from bench.turn_costs import open_books
from sandbox.bridge import ROOT

usual = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
globals().update(usual)


def post_worker_init(worker: Any) -> None:
    """Book from now on; SIGUSR2 writes the books to the file that BOOKS names."""
    usual["post_worker_init"](worker)
    books = open_books()
    signal.signal(signal.SIGUSR2, lambda *_: books.write(Path(os.environ["BOOKS"])))
