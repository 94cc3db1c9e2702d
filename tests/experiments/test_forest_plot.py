from __future__ import annotations

from xml.etree import ElementTree as ET

from experiments.forest_plot import forest
from polydistill.evaluation.statistics.bootstrap import Interval

GROUPS = {
    "loss": {"mse": Interval(0.01, -0.01, 0.03), "cosine": Interval(-0.02, -0.03, -0.01)},
    "heads": {"hidden 128": Interval(0.0, -0.01, 0.01)},
}


def test_the_figure_is_a_standalone_svg_file_with_reproducible_bytes() -> None:
    svg = forest("test", GROUPS, "gain")

    assert svg == forest("test", GROUPS, "gain")
    root = ET.fromstring(svg)  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"loss", "mse", "cosine", "heads", "hidden 128", "gain"} <= set(words)


def test_every_colour_variable_is_defined_in_the_file() -> None:
    svg = forest("test", GROUPS, "gain")

    used = {part.split(")")[0] for part in svg.split("var(")[1:]}

    assert used
    assert all(f"{variable}:#" in svg for variable in used)
