"""docs/formats.md: ``python -m tests.unit.audio.recordings_page`` writes its table."""

from __future__ import annotations

from pathlib import Path

from tests.unit.audio.recordings import HEARD, REFUSED, Recording

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"

MARK = "<!-- python -m tests.unit.audio.recordings_page writes from here. -->"
COLUMNS = "| container | codec | how the file may begin | heard | why |\n|---|---|---|---|---|"


def page() -> str:
    """The page as it should be: what stands above the table stays."""
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return "\n".join([head + mark, "", COLUMNS, *map(_row, [*HEARD, *REFUSED]), ""])


def _row(recording: Recording) -> str:
    verdict = f"no, logged as `{recording.logged}`" if recording.logged else "yes"
    cells = (recording.container, recording.codec, recording.beginning, verdict, recording.reason)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
