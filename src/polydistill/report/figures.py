"""Figures as inline SVG. The same numbers give the same bytes, and colours are the page's CSS variables."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox

from polydistill.report.tables import STUDENT, UNDISTILLED

# Placeholders for CSS variables, so that a dark page has light text. No other colour in a figure may equal one.
COLOURS = [f"#0102{number:02x}" for number in range(1, 8)]
INK, FAINT, GRID, ACCENT, SECOND, OTHER, ALARM = COLOURS
NAMES = ("--ink", "--muted", "--line", "--accent", "--second", "--other", "--bad")
VARIABLES = dict(zip(COLOURS, NAMES, strict=True))
SETTINGS = mpl.rc_params_from_file(
    Path(__file__).with_name("figures.mplstyle"), use_default_template=False
)
OFFSETS = (
    *((7, 0), (0, 7), (0, -7), (-7, 0)),
    *((6, 6), (6, -6), (-6, 6), (-6, -6)),
    *((4, -10), (4, 10), (-4, -10), (-4, 10)),
)
"""Candidate offsets of a label from its data point, in typographic points; the first without overlap is used."""
ALIGNMENTS = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}
"""Horizontal and vertical alignment of a label, by the sign of its offset."""


class Picture(NamedTuple):
    """One figure of the page.

    Attributes:
        svg: The `<svg>` element.
        caption: The text below it.
    """

    svg: Markup
    caption: str


def training_curves(
    history: pd.DataFrame, unit: str, best_step: int | None, restarts: Sequence[int] = ()
) -> list[Picture]:
    """Return one panel per teacher: its loss on training and held-out rows, by step.

    Args:
        history: Columns `step`, `teacher`, `split` and `nats`.
        unit: The unit of the loss.
        best_step: The step whose weights were kept, marked by a dotted line.
        restarts: The steps of restarts by the divergence guard, marked by dashed lines.
    """
    marked = [(best_step, FAINT, (2, 2))] if best_step is not None else []
    marked += [(step, ALARM, (5, 3)) for step in restarts]
    return [
        _training_curve(f"curve-{number}", str(teacher), rows.sort_values("step"), unit, marked)
        for number, (teacher, rows) in enumerate(history.groupby("teacher", sort=False))
    ]


def _training_curve(
    name: str,
    teacher: str,
    rows: pd.DataFrame,
    unit: str,
    marked: Sequence[tuple[int, str, tuple[int, int]]],
) -> Picture:
    described = []
    with draw_axes(name, (2.6, 1.95)) as (axes, done):
        axes.set(xlabel="optimiser step", ylabel=unit)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        for split, colour, width in (("train", OTHER, 1.2), ("held-out", ACCENT, 2.0)):
            line = rows[rows["split"] == split]
            if not line.empty:
                marker = "o" if len(line) <= 12 else ""
                axes.plot(line["step"], line["nats"], color=colour, lw=width, marker=marker, ms=3.5)
                first, last = line["nats"].iloc[[0, -1]]
                described.append(f"{split} from {first:.3f} to {last:.3f}")
        for step, colour, dashes in marked:
            axes.axvline(step, color=colour, lw=0.8, ls=(0, dashes))
    label = f"Training curve of {teacher}: {'; '.join(described) or 'no numbers'}."
    return Picture(done(label), teacher)


def quality_scatter(
    name: str, points: Mapping[str, tuple[float, float]], axis: str, caption: str
) -> Picture:
    """Return a plot of scores against costs on a logarithmic axis, with each point labelled by the model's name.

    Args:
        name: The figure's name, which is the prefix of its element ids.
        points: The cost (above zero) and the mean score of each model, in percent.
        axis: The label of the cost axis.
        caption: The text below the figure.
    """
    with draw_axes(name, (4.2, 3.0)) as (axes, done):
        axes.set(xscale="log", xlabel=axis, ylabel="mean score, %")
        axes.grid()
        axes.yaxis.set_major_locator(MaxNLocator(5))
        costs = [cost for cost, _ in points.values()]
        _set_log_ticks(axes, min(costs) / 1.8, max(costs) * 1.8)
        axes.margins(y=0.22)
        for model, (cost, score) in points.items():
            area, shape = (75, "D") if model == STUDENT else (48, "o")
            axes.scatter([cost], [score], s=area, marker=shape, color=_colour(model), zorder=3)
        _label_points(axes, points)
    described = ", ".join(f"{m} {cost:,.4g} and {score:.1f}" for m, (cost, score) in points.items())
    return Picture(done(f"Mean score against {axis}: {described}."), caption)


@contextmanager
def draw_axes(
    name: str, inches: tuple[float, float]
) -> Iterator[tuple[Axes, Callable[[str], Markup]]]:
    """Yield axes of a new figure, and a function that returns the figure as SVG, given its accessible label."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=inches, dpi=72, layout="constrained")  # SVG's unit is a point
        FigureCanvasSVG(figure)
        yield figure.add_subplot(), partial(_svg, name, figure)


def _svg(name: str, figure: Figure, label: str) -> Markup:
    """Return a figure as an `<svg>` element without a date, with unique ids, and with CSS variables for colours."""
    buffer = io.StringIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
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
    """Label each point at an offset where the label overlaps neither another label nor a point."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    taken = [
        Bbox.from_bounds(x - 5, y - 5, 10, 10)
        for x, y in (axes.transData.transform(point) for point in points.values())
    ]
    inside = axes.get_window_extent()
    for model, point in points.items():
        weight = "bold" if model == STUDENT else "normal"
        text = axes.annotate(
            _short(model), point, OFFSETS[0], textcoords="offset points", size=8.5, weight=weight
        )
        for dx, dy in (*OFFSETS, OFFSETS[0]):  # the last offset is used if every offset overlaps
            across, up = ALIGNMENTS[np.sign(dx)][0], ALIGNMENTS[np.sign(dy)][1]
            text.set(position=(dx, dy), ha=across, va=up)
            box = text.get_window_extent()
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1
            if within and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def _set_log_ticks(axes: Axes, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2, 5, 10 and so on."""
    axes.set_xlim(low, high)
    ticks = [t for t in LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(low, high) if low <= t <= high]
    axes.set_xticks(ticks[:: max(1, -(-len(ticks) // 7))])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _colour(model: str) -> str:
    return {STUDENT: ACCENT, UNDISTILLED: SECOND}.get(model, OTHER)


def _short(model: str) -> str:
    return model if len(model) <= 22 else f"{model[:21]}…"
