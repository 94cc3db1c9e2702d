"""Figures as inline SVG: the same numbers give the same bytes, and the page's colours apply."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from polydistill.report.tables import STUDENT, UNDISTILLED

# Stand-ins that no palette has: each becomes a CSS variable, so that a dark page has light ink.
INK, FAINT, GRID, ACCENT, SECOND, OTHER = (f"#0102{number:02x}" for number in range(1, 7))
VARIABLES = {
    INK: "--ink",
    FAINT: "--muted",
    GRID: "--line",
    ACCENT: "--accent",
    SECOND: "--second",
    OTHER: "--other",
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # the page's own font
    "svg.hashsalt": "polydistill",
    "font.size": 9,
    "text.parse_math": False,  # a name may hold a dollar sign
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
}
ANCHORS = (
    (7, 0, "left", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (-7, 0, "right", "center"),
    (6, 6, "left", "bottom"),
    (6, -6, "left", "top"),
    (-6, 6, "right", "bottom"),
    (-6, -6, "right", "top"),
    (4, -14, "left", "center"),
    (4, 14, "left", "center"),
    (-4, -14, "right", "center"),
    (-4, 14, "right", "center"),
)
"""Positions of a point's label, in points: the first free one is taken."""


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    Attributes:
        svg: The `<svg>` element.
        caption: What a person reads below it.
    """

    svg: Markup
    caption: str


def training_curves(history: pd.DataFrame, unit: str, best_step: int | None) -> list[Picture]:
    """Return one panel a teacher: its loss on training and on held-out rows, by step."""
    pictures = []
    for place, (teacher, rows) in enumerate(history.groupby("teacher", sort=False)):
        with draw_axes(f"curve-{place}", (2.6, 1.95)) as (axes, done):
            axes.set_xlabel("optimiser step")
            axes.set_ylabel(unit)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            spoken = []
            for split, colour, width in (("train", OTHER, 1.2), ("held-out", ACCENT, 2.0)):
                line = rows[rows["split"] == split].sort_values("step")
                if not line.empty:
                    marker = "o" if len(line) <= 12 else ""
                    axes.plot(
                        line["step"], line["nats"], color=colour, lw=width, marker=marker, ms=3.5
                    )
                    spoken.append(
                        f"{split} from {line['nats'].iloc[0]:.3f} to {line['nats'].iloc[-1]:.3f}"
                    )
            if best_step is not None:
                axes.axvline(best_step, color=FAINT, lw=0.8, ls=(0, (2, 2)))
        label = f"Training curve of {teacher}: {'; '.join(spoken) or 'no numbers'}."
        pictures.append(Picture(done(label), str(teacher)))
    return pictures


def score_bars(
    by_model: Mapping[str, Mapping[str, float]], models: Sequence[str], kind: str, place: int
) -> Picture:
    """Return a bar a model for one task kind, the models in the page's order."""
    shown = [model for model in models if kind in by_model[model]]
    values = [by_model[model][kind] for model in shown]
    with draw_axes(f"bars-{place}", (2.6, 0.15 + 0.235 * len(shown))) as (axes, done):
        bars = axes.barh(
            [_short(model) for model in shown],
            values,
            color=[_colour(model) for model in shown],
            height=0.66,
        )
        axes.bar_label(bars, fmt="%.3f", padding=4, fontsize=8.5, color=INK)
        axes.invert_yaxis()
        axes.set_xlim(min(0.0, *values), max(0.01, *values) * 1.16)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
    spoken = ", ".join(f"{m} {v:.3f}" for m, v in zip(shown, values, strict=True))
    return Picture(done(f"Mean scores on {kind}: {spoken}."), kind)


def quality_scatter(
    points: Mapping[str, tuple[float, float]], name: str, axis: str, caption: str
) -> Picture:
    """Return quality against a cost on a logarithmic axis, each point with its model's name.

    Args:
        points: Model: (cost, above zero; mean score).
        name: Of the figure, for its ids.
        axis: What the cost is, with its unit.
        caption: What a person reads below.
    """
    with draw_axes(name, (4.2, 3.0)) as (axes, done):
        axes.set_xscale("log")
        axes.grid()
        axes.set_xlabel(axis)
        axes.set_ylabel("mean score")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        costs = [cost for cost, _ in points.values()]
        _set_log_ticks(axes, min(costs) / 1.8, max(costs) * 1.8)
        axes.margins(y=0.22)
        for model, (cost, score) in points.items():
            area, shape = (75, "D") if model == STUDENT else (48, "o")
            axes.scatter([cost], [score], s=area, marker=shape, color=_colour(model), zorder=3)
        _label_points(axes, points)
    spoken = ", ".join(f"{m} {cost:,.4g} and {score:.3f}" for m, (cost, score) in points.items())
    return Picture(done(f"Mean score against {axis}: {spoken}."), caption)


class _Finish:
    """Turns a figure into SVG, once its block has ended."""

    def __init__(self, name: str, figure: Figure) -> None:
        self._name, self._figure = name, figure

    def __call__(self, label: str) -> Markup:
        with mpl.rc_context(SETTINGS):
            return _svg(self._name, self._figure, label)


@contextmanager
def draw_axes(name: str, inches: tuple[float, float]) -> Iterator[tuple[Axes, _Finish]]:
    """Give axes with our settings, and what draws them at the end; no global figure is touched."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=inches, dpi=72, layout="constrained")  # SVG's unit is a point
        FigureCanvasSVG(figure)
        yield figure.add_subplot(), _Finish(name, figure)


def _svg(name: str, figure: Figure, label: str) -> Markup:
    """Draw without a date, with ids of this figure's own, and with variables for colours."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r'(style="[^"]*?)font: ([\d.]+)px [^;"]*', r"\1font-size: \2px", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="[^"]*"', svg)
    inside = svg[svg.index(">") + 1 :].strip()
    head = Markup(
        '<svg {box} xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{label}">'
    ).format(
        box=Markup(box.group() if box else ""),  # noqa: S704 - matplotlib's own numbers
        label=label,
    )
    return head + Markup(inside) + Markup("\n")  # noqa: S704 - matplotlib escapes what it writes


def _label_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each point's name where it covers neither another name nor a point."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    taken = [
        Bbox.from_bounds(x - 5, y - 5, 10, 10)
        for x, y in (axes.transData.transform(point) for point in points.values())
    ]
    room = axes.get_window_extent()
    for model, point in points.items():
        for dx, dy, across, up in ANCHORS:
            text = axes.annotate(
                _short(model),
                point,
                (dx, dy),
                textcoords="offset points",
                ha=across,
                va=up,
                fontsize=8.5,
                fontweight="bold" if model == STUDENT else "normal",
            )
            box = text.get_window_extent()
            free = not any(box.overlaps(other) for other in taken)
            if free and room.x0 <= box.x0 and box.x1 <= room.x1:
                break
            text.remove()
        else:  # no free place: to the right of its point, whatever is there
            axes.annotate(_short(model), point, (7, 0), textcoords="offset points", va="center")
            continue
        taken.append(box)


def _set_log_ticks(axes: Axes, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2, 5, 10 and so on."""
    axes.set_xlim(low, high)
    ticks = [t for t in LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(low, high) if low <= t <= high]
    step = max(1, -(-len(ticks) // 7))
    axes.xaxis.set_major_locator(FixedLocator(ticks[::step]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(FixedLocator([]))


def _colour(model: str) -> str:
    return {STUDENT: ACCENT, UNDISTILLED: SECOND}.get(model, OTHER)


def _short(model: str) -> str:
    return model if len(model) <= 22 else f"{model[:21]}…"
