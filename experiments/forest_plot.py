"""A forest plot of differences from a baseline, with their intervals, as a standalone SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from polydistill.evaluation.statistics.bootstrap import Interval
from polydistill.report.figures import ACCENT, FAINT, INK, OTHER, SETTINGS, VARIABLES, draw_axes

INKS = {
    "light": ("#1f2328", "#59636e", "#d1d9e0", "#0969da", "#9a6700", "#6e7781", "#cf222e"),
    "dark": ("#f0f6fc", "#9198a1", "#3d444d", "#4493f8", "#d29922", "#9198a1", "#f85149"),
}
"""The values of the CSS variables `VARIABLES`, in their order. A standalone file has no access to the report page."""
FONT = "system-ui, sans-serif"
ROW_INCHES, WIDTH_INCHES = 0.24, 6.6

Groups = Mapping[str, Mapping[str, Interval]]
"""The differences by group and row."""


def forest(name: str, groups: Groups, axis: str) -> str:
    """Return an SVG file with one row per difference, its interval as a line, and a line at zero.

    Args:
        name: The figure's name, the prefix of its ids.
        groups: The rows of each group, from top to bottom; each group has a heading.
        axis: The label of the axis.
    """
    rows = [(group, label) for group, entries in groups.items() for label in ("", *entries)]
    height = 0.7 + ROW_INCHES * len(rows)
    with draw_axes(name, (WIDTH_INCHES, height)) as (axes, done):
        axes.axvline(0, color=FAINT, lw=0.8)
        for position, (group, label) in enumerate(rows):
            if label:
                gain = groups[group][label]
                excludes_zero = gain.above_zero or gain.high < 0
                colour = ACCENT if excludes_zero else OTHER
                axes.plot([gain.low, gain.high], [position, position], color=colour, lw=2)
                axes.plot([gain.mean], [position], "o", color=colour, ms=4.5)
        axes.set_yticks(range(len(rows)), [label or group for group, label in rows])
        for text, (_, label) in zip(axes.get_yticklabels(), rows, strict=True):
            text.set_fontweight("normal" if label else "bold")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.set_xlabel(axis)
    description = "; ".join(
        f"{group} {label} {gain.mean:+.3f}"
        for group, entries in groups.items()
        for label, gain in entries.items()
    )
    return standalone(done(f"{axis}: {description}."))


def standalone(svg: Markup) -> str:
    """Return an inline figure as a file, with the SVG namespace and colours for light and dark themes."""
    light, dark = (_rules(INKS[theme]) for theme in ("light", "dark"))
    style = (
        f"<style>svg{{font-family:{FONT};font-size:{SETTINGS['font.size']:g}px;{light}}}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    )
    head, _, rest = str(svg).partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def _rules(colours: Sequence[str]) -> str:
    return "".join(
        f"{variable}:{colour};"
        for variable, colour in zip(VARIABLES.values(), colours, strict=True)
    )
