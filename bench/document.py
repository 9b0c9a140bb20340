"""What was measured, written into docs/performance.md between its two marks."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from bench.findings import Findings
from bench.pictures import draw
from bench.report import markdown

BEGIN, END = "<!-- make bench WRITE=1 writes from here … -->", "<!-- … to here. -->"
NAME = "performance"


def write(found: Findings, folder: Path) -> None:
    """``performance.md`` in ``folder``, whose other text stays, and its pictures beside it."""
    draw(found, folder / NAME)
    page = folder / f"{NAME}.md"
    old = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    measured = f"{BEGIN}\n\n{_machine(found.load)}\n\n{markdown(found)}\n\n{END}"
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    page.write_text(between.sub(lambda _: measured, old), encoding="utf-8")


def _machine(load: float) -> str:
    system = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    return (
        f"Measured by `make bench WRITE=1` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} "
        f"cores ({system}) that bots, providers and writers shared; "
        f"load average before: {load:.1f}."
    )
