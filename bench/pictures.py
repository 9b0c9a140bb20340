"""The pictures of docs/performance.md, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from bench.findings import Bot, Findings
from bench.limit import Span

# Lines of the timeline from top to bottom, each with its provider's colour. These are told apart by
# the colour-blind too (Okabe and Ito).
TWILIO, AGENTFORCE, ELEVENLABS = "#d55e00", "#0072b2", "#009e73"
STAGES = {
    "session": ("Session", AGENTFORCE),
    "media": ("Download", TWILIO),
    "transcribe": ("Transcription", ELEVENLABS),
    "ask": ("Agent", AGENTFORCE),
    "text": ("Text sent", TWILIO),
    "speak": ("Speech", ELEVENLABS),
    "voice": ("Voice note sent", TWILIO),
}
CLOUDS = {"Twilio": TWILIO, "Agentforce": AGENTFORCE, "ElevenLabs": ELEVENLABS}
BRIDGE, OTHER, LIMIT = "#0072b2", "#d55e00", "#555555"
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # The same figures give the same file.
    "svg.hashsalt": "bench",
}


def draw(found: Findings, folder: Path) -> None:
    """Write ``turn.svg`` and, where there were bursts of both bots, ``load.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        _save(_turn(found), folder / "turn.svg")
        if found.sequential.bursts:
            _save(_load(found), folder / "load.svg")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})


def _turn(found: Findings) -> Figure:
    """A voice turn of each, one above the other."""
    figure = Figure(figsize=(8, 7.2), layout="constrained")
    turns = {
        "This bridge": _typical(found.bridge),
        "The same providers, one after the other": _typical(found.sequential),
        "The calculated limit": found.limit.spans(),
    }
    panels = figure.subplots(len(turns), 1, sharex=True)
    for panel, (title, spans) in zip(panels, turns.items(), strict=True):
        _draw_turn(panel, title, spans)
    end = max((span.end for spans in turns.values() for span in spans), default=1.0)
    panels[-1].set_xlim(0, end * 1.08)
    panels[-1].set_xlabel("seconds after the webhook")
    colours = [mpl.patches.Patch(color=colour, label=name) for name, colour in CLOUDS.items()]
    figure.legend(handles=colours, loc="outside upper right", ncols=len(CLOUDS), frameon=False)
    return figure


def _typical(bot: Bot) -> Sequence[Span]:
    """Of the turn whose text came in the middle of all."""
    ranked = sorted((burst for burst in bot.voice if burst.times), key=lambda burst: burst.texts)
    return ranked[len(ranked) // 2].spans if ranked else ()


def _draw_turn(axes: Axes, title: str, spans: Sequence[Span]) -> None:
    lines = list(STAGES)
    for name, group in groupby(sorted(spans, key=_line), key=lambda span: span.name):
        # Side by side in one line what goes on side by side.
        beside = list(group)
        height = 0.8 / len(beside)
        for place, span in enumerate(beside):
            top = lines.index(name) - 0.4 + place * height
            length = max(span.end - span.start, 0.0)
            axes.broken_barh([(span.start, length)], (top, height * 0.92), color=STAGES[name][1])
    axes.set_title(title)
    axes.set_yticks(range(len(lines)), [STAGES[name][0] for name in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.tick_params(left=False, labelbottom=True)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    _note_times(axes, spans)


def _note_times(axes: Axes, spans: Sequence[Span]) -> None:
    """When the text was taken, and when the voice note was handed over."""
    for span in spans:
        line = list(STAGES).index(span.name)
        beside: Any = {"textcoords": "offset points", "va": "center"}
        if span.name == "text":
            axes.annotate(f"{span.end:.2f} s", (span.end, line), (4, 0), **beside)
        elif span.name == "voice":
            axes.annotate(f"{span.start:.2f} s", (span.start, line), (-4, 0), ha="right", **beside)


def _line(span: Span) -> tuple[int, float]:
    return list(STAGES).index(span.name), span.start


def _load(found: Findings) -> Figure:
    """Median and worst against the size of a burst."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    limit = found.limit
    at_best = {"Text": limit.voice_turn, "Voice note": limit.voice_turn + limit.note_after_text}
    for axes, (title, of) in zip(
        panels, {"Text": Bot.texts, "Voice note": Bot.notes}.items(), strict=True
    ):
        for bot, colour, name in (
            (found.sequential, OTHER, "one after the other"),
            (found.bridge, BRIDGE, "this bridge"),
        ):
            sizes = [1, *bot.bursts]
            times = {size: of(bot, size) for size in sizes}
            _draw_times(axes, times, colour, name)
        axes.axhline(at_best[title], color=LIMIT, linewidth=1, linestyle=":", label="limit")
        axes.set_title(title)
        _label_sizes(axes, [1, *found.bridge.bursts])
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
