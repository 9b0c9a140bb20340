"""The charts of docs/performance.md, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from bench.critical_path import Span
from bench.results import BotResults, Results

# The palette of Okabe and Ito, which colour-blind people can tell apart too.
TWILIO, AGENTFORCE, ELEVENLABS = "#d55e00", "#0072b2", "#009e73"
# The rows of a timeline from top to bottom, with the colour of their provider.
STAGES = {
    "session": ("Session", AGENTFORCE),
    "media": ("Download", TWILIO),
    "transcribe": ("Transcription", ELEVENLABS),
    "ask": ("Agent", AGENTFORCE),
    "text": ("Text sent", TWILIO),
    "speak": ("Speech", ELEVENLABS),
    "voice": ("Voice note sent", TWILIO),
}
PROVIDERS = {"Twilio": TWILIO, "Agentforce": AGENTFORCE, "ElevenLabs": ELEVENLABS}
BRIDGE, SEQUENTIAL, LIMIT = "#0072b2", "#d55e00", "#555555"
BAR_HEIGHT = 0.8
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Makes the generated ids reproducible, so that the same results give the same file.
    "svg.hashsalt": "bench",
}


def write_charts(results: Results, folder: Path) -> None:
    """Write ``turn.svg`` and, if bursts of both bots were measured, ``load.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        _save(_turn_chart(results), folder / "turn.svg")
        if results.sequential.bursts:
            _save(_load_chart(results), folder / "load.svg")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})


def _turn_chart(results: Results) -> Figure:
    """A timeline of one voice turn for each bot and for the limit, one above the other."""
    figure = Figure(figsize=(8, 7.2), layout="constrained")
    turns = {
        "This bridge": _median_turn(results.bridge),
        "The same providers, one after the other": _median_turn(results.sequential),
        "The calculated limit": results.critical_path.spans(),
    }
    panels = figure.subplots(len(turns), 1, sharex=True)
    for panel, (title, spans) in zip(panels, turns.items(), strict=True):
        _draw_timeline(panel, title, spans)
    end = max((span.end for spans in turns.values() for span in spans), default=1.0)
    panels[-1].set_xlim(0, end * 1.08)
    panels[-1].set_xlabel("seconds after the webhook")
    colours = [mpl.patches.Patch(color=colour, label=name) for name, colour in PROVIDERS.items()]
    figure.legend(handles=colours, loc="outside upper right", ncols=len(PROVIDERS), frameon=False)
    return figure


def _median_turn(bot: BotResults) -> Sequence[Span]:
    """The spans of the voice turn with the median text time."""
    turns = sorted((burst for burst in bot.voice if burst.times), key=lambda burst: burst.texts)
    return turns[len(turns) // 2].spans if turns else ()


def _draw_timeline(axes: Axes, title: str, spans: Sequence[Span]) -> None:
    rows = list(STAGES)
    for name, group in groupby(sorted(spans, key=_row_and_start), key=lambda span: span.name):
        # Calls of the same stage share its row, so that parallel calls can be seen.
        calls = list(group)
        height = BAR_HEIGHT / len(calls)
        for number, span in enumerate(calls):
            top = rows.index(name) - BAR_HEIGHT / 2 + number * height
            length = max(span.end - span.start, 0.0)
            axes.broken_barh([(span.start, length)], (top, height * 0.92), color=STAGES[name][1])
    axes.set_title(title)
    axes.set_yticks(range(len(rows)), [STAGES[name][0] for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(left=False, labelbottom=True)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    _annotate_times(axes, spans)


def _annotate_times(axes: Axes, spans: Sequence[Span]) -> None:
    """Write when the text was accepted, and when the voice note was sent."""
    for span in spans:
        row = list(STAGES).index(span.name)
        style: Any = {"textcoords": "offset points", "va": "center"}
        if span.name == "text":
            axes.annotate(f"{span.end:.2f} s", (span.end, row), (4, 0), **style)
        elif span.name == "voice":
            axes.annotate(f"{span.start:.2f} s", (span.start, row), (-4, 0), ha="right", **style)


def _row_and_start(span: Span) -> tuple[int, float]:
    return list(STAGES).index(span.name), span.start


def _load_chart(results: Results) -> Figure:
    """Median and worst times by the size of the burst."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    limit = results.critical_path
    limits = {"Text": limit.voice_turn, "Voice note": limit.voice_turn + limit.note_after_text}
    for axes, (title, times_of) in zip(
        panels, {"Text": BotResults.texts, "Voice note": BotResults.notes}.items(), strict=True
    ):
        for bot, colour, name in (
            (results.sequential, SEQUENTIAL, "one after the other"),
            (results.bridge, BRIDGE, "this bridge"),
        ):
            sizes = [1, *bot.bursts]
            times = {size: times_of(bot, size) for size in sizes}
            _draw_times(axes, times, colour, name)
        axes.axhline(limits[title], color=LIMIT, linewidth=1, linestyle=":", label="limit")
        axes.set_title(title)
        _label_sizes(axes, [1, *results.bridge.bursts])
    panels[0].set_ylabel("seconds after the webhook")
    panels[0].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_times(
    axes: Axes, times: Mapping[int, tuple[float, float]], colour: str, name: str
) -> None:
    sizes = list(times)
    medians, worst = zip(*times.values(), strict=True)
    axes.plot(sizes, worst, color=colour, marker="o", markersize=4, label=f"{name}, worst")
    axes.plot(
        sizes,
        medians,
        color=colour,
        marker="o",
        markersize=3,
        linewidth=1,
        linestyle="--",
        label=f"{name}, median",
    )


def _label_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("voice turns at once")
    axes.grid(color="#dddddd", linewidth=0.6)
