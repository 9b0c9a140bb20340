"""The command that measures what docs/performance.md says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.bridge import ROOT

pytestmark = pytest.mark.slow

# A label, then the bridge's figure.
ROW = re.compile(r"^  (\S.*?) {2,}([\d.,]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the page, whose text outside the marks must stay."""
    folder = tmp_path_factory.mktemp("docs")
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    (folder / "performance.md").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def printed(out: Path) -> str:
    """The output of the command."""
    command = [sys.executable, "-m", "bench.performance", "--tiny", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "one voice turn" in done.stderr
    return done.stdout


def test_it_prints_every_figure_in_80_columns(printed: str) -> None:
    rows = dict(ROW.findall(printed))
    assert rows["turns lost, or not answered once"] == "0"
    for label in (
        "voice turn: text ÷ limit",
        "voice note after the text ÷ limit",
        "text turn: text ÷ limit",
        "2 at once: worst text ÷ one turn's",
        "2 at once: worst voice note",
        "20/s: p99",
        "CPU a voice turn, 2 at once, ms",
        "memory, 2 at once, MB",
    ):
        assert float(rows[label].replace(",", "")) > 0, label
    assert max(map(len, printed.splitlines())) <= 80


def test_no_ratio_beats_the_theoretical_limit(printed: str) -> None:
    ratios = re.findall(r"text ÷ limit +([\d.]+) +([\d.]+) +1.00", printed)
    assert len(ratios) == 3
    assert all(float(ratio) >= 1 for pair in ratios for ratio in pair)


def test_it_writes_the_page_and_the_pictures(printed: str, out: Path) -> None:
    before = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    after = (out / "performance.md").read_text(encoding="utf-8")
    begin, end = re.findall("<!--.*?-->", before)
    assert after.partition(begin)[0] == before.partition(begin)[0]
    assert after.partition(end)[2] == before.partition(end)[2]
    assert "| 2 at once: worst text |" in after
    for name in ("turn.svg", "load.svg"):
        assert "</svg>" in (out / "performance" / name).read_text(encoding="utf-8")
