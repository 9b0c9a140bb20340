"""``flask --app app check``: tries everything that the service needs, and says what is wrong."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator

import click

from checks.checklist import full_checks, offline_checks, run
from checks.environment import load_or_explain
from core.models import CheckResult, CheckState

SIGNS = {
    CheckState.OK: click.style("✓", fg="green"),
    CheckState.WARNING: click.style("!", fg="yellow", bold=True),
    CheckState.FAILED: click.style("✗", fg="red", bold=True),
    CheckState.SKIPPED: "·",
}
WORDS = {
    CheckState.FAILED: "failed",
    CheckState.WARNING: "to look at",
    CheckState.OK: "fine",
    CheckState.SKIPPED: "not tried",
}
TITLE_WIDTH = 24
MIN_WIDTH, MAX_WIDTH = 60, 110


@click.command()
@click.option("--offline", is_flag=True, help="only what needs no network and costs nothing")
@click.option("--json", "as_json", is_flag=True, help="print JSON, when all is done")
def check(*, offline: bool, as_json: bool) -> None:
    """Try everything that the service needs, and say what is wrong and where to mend it.

    A session with the agent is started and ended, and ElevenLabs speaks and transcribes a word,
    which costs a few credits. The exit status is 1 if anything failed.
    """
    results = []
    for result in _results(offline=offline):
        results.append(result)
        if not as_json:
            _print(result)
    failed = any(result.state is CheckState.FAILED for result in results)
    if as_json:
        click.echo(_to_json(results))
    else:
        click.echo(f"\n{_count(results)}")
    sys.exit(1 if failed else 0)


def _results(*, offline: bool) -> Iterator[CheckResult]:
    settings, results = load_or_explain()
    yield from results
    if settings:
        yield from run(offline_checks(settings) if offline else full_checks(settings))


def _print(result: CheckResult) -> None:
    """One line for what was found, wrapped if it is long, and one for what to do."""
    margin = " " * (TITLE_WIDTH + 3)
    width = min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
    line = _wrap(result.finding, width, f"  {result.title:{TITLE_WIDTH}} ", margin)
    # The sign comes last, because the codes of its colour have no width.
    click.echo(SIGNS[result.state] + line[1:])
    if result.hint:
        click.echo(_wrap(result.hint, width, f"{margin}→ ", f"{margin}  "))


def _wrap(text: str, width: int, first: str, following: str) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(results: list[CheckResult]) -> str:
    counts = Counter(result.state for result in results)
    return ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])


def _to_json(results: list[CheckResult]) -> str:
    rows = [result.to_json() for result in results]
    ok = all(result.state is not CheckState.FAILED for result in results)
    return json.dumps({"ok": ok, "at": time.time(), "results": rows}, ensure_ascii=False, indent=2)
