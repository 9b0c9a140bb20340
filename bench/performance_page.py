"""Writes the results into docs/performance.md, between its two markers."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from bench.charts import write_charts
from bench.report import as_markdown
from bench.results import Results

BEGIN, END = "<!-- make bench WRITE=1 writes from here … -->", "<!-- … to here. -->"
NAME = "performance"


def write_page(results: Results, folder: Path) -> None:
    """Write ``performance.md`` in ``folder`` and its charts in ``folder/performance``.

    Of an existing page only the part between the markers is replaced.
    """
    write_charts(results, folder / NAME)
    page = folder / f"{NAME}.md"
    old = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    machine = _describe_machine(results)
    measured = f"{BEGIN}\n\n{machine}\n\n{as_markdown(results)}\n\n{END}"
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    page.write_text(between.sub(lambda _: measured, old), encoding="utf-8")


def _describe_machine(results: Results) -> str:
    system = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    return (
        f"Measured by `make bench WRITE=1` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} "
        f"cores ({system}) that bots, providers and writers shared; "
        f"load average before: {results.load_average:.1f}. At its fastest moment the machine was "
        f"{results.speed_ratio:.1f} times as fast as at its slowest."
    )
