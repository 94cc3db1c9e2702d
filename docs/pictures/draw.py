# ruff: noqa: INP001 - a script, run by hand: `python docs/pictures/draw.py`
"""Draw the pictures of the documentation as SVG files beside this script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

INK, GREY, WHITE = "#22313a", "#6b7a83", "#ffffff"
BLUE, GREEN, AMBER, RED, PLAIN = "#dceaf5", "#dff2e4", "#fdf0d0", "#f8e0dc", "#f1f4f6"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


class Picture:
    """Boxes, arrows and words on a white page.

    Args:
        width: In pixels.
        height: In pixels.
        title: Read aloud in place of the picture.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" font-family="{FONT}" font-size="14" fill="{INK}">\n'
            f"<title>{escape(title)}</title>\n"
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>\n'
            f'<rect width="{width}" height="{height}" fill="{WHITE}"/>'
        )
        self.parts: list[str] = []

    def box(
        self, at: Sequence[int], words: str, *, fill: str = PLAIN, dashed: bool = False
    ) -> None:
        """Draw a box at `(x, y, width, height)`: its first line is bold, the others are small."""
        x, y, width, height = at
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{fill}" stroke="{GREY}"{dash}/>'
        )
        lines = words.split("\n")
        top = y + height / 2 - (len(lines) - 1) * 9 + 5
        for number, line in enumerate(lines):
            self.text(
                (x + width // 2, int(top + 18 * number)), line, bold=number == 0, small=number > 0
            )

    def text(
        self,
        at: Sequence[int],
        words: str,
        *,
        bold: bool = False,
        small: bool = False,
        anchor: str = "middle",
    ) -> None:
        """Write one line."""
        style = ' font-weight="600"' if bold else ""
        style += f' font-size="12" fill="{GREY}"' if small else ""
        self.parts.append(
            f'<text x="{at[0]}" y="{at[1]}" text-anchor="{anchor}"{style}>{escape(words)}</text>'
        )

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """Draw an arrow along the points."""
        path = " L".join(f"{x},{y}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="M{path}" fill="none" stroke="{GREY}" stroke-width="1.5"{dash} marker-end="url(#tip)"/>'
        )

    def band(self, at: Sequence[int], words: str, fill: str) -> None:
        """Draw a shaded area with its name at the top left."""
        x, y, width, height = at
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="{fill}"/>'
        )
        self.text((x + 12, y + 20), words, bold=True, anchor="start")

    def svg(self) -> str:
        """Return the file."""
        return "\n".join([self.head, *self.parts, "</svg>\n"])


def pipeline() -> Picture:
    """What a run does, from data to the champion."""
    picture = Picture(
        980, 330, "The pipeline: data, teachers, student, benchmark, registry, report"
    )
    picture.band(
        (10, 10, 960, 178),
        "DVC stages: run again only if their data, code or settings changed",
        BLUE,
    )
    x = 25
    for name, wide in (
        ("fetch-data\nthird-party tasks", 130),
        ("validate\nGreat Expectations", 150),
    ):
        picture.box((x, 92, wide, 54), name, fill=WHITE)
        picture.arrow((x + wide, 119), (x + wide + 20, 119))
        x += wide + 20
    for row in range(3):
        name = "embed\none per teacher" if row == 1 else "embed"
        picture.box((x, 44 + row * 48, 150, 42), name, fill=WHITE)
        picture.arrow((x + 150, 65 + row * 48), (x + 185, 119))
    picture.arrow((x - 20, 119), (x - 1, 65))
    picture.arrow((x - 20, 119), (x - 1, 161))
    x += 187
    for name, wide in (("distill\nstudent and heads", 150), ("evaluate\nbenchmark tasks", 150)):
        picture.box((x, 92, wide, 54), name, fill=WHITE)
        if name.startswith("distill"):
            picture.arrow((x + wide, 119), (x + wide + 25, 119))
        x += wide + 25
    picture.band((10, 200, 690, 120), "MLflow registry", GREEN)
    picture.box((25, 238, 160, 60), "publish\nalias: challenger", fill=WHITE)
    picture.box((230, 238, 180, 60), "gate\ntasks, budgets, smoke test", fill=WHITE)
    picture.box((500, 238, 180, 60), "promote\nalias: champion", fill=WHITE)
    picture.arrow((185, 268), (228, 268))
    picture.arrow((410, 268), (498, 268))
    picture.text((454, 260), "passed", small=True)
    picture.box((760, 238, 190, 60), "report\none HTML file", fill=AMBER)
    picture.arrow((680, 268), (758, 268))
    end = x - 25
    picture.arrow((end, 119), (958, 119), (958, 194), (165, 194), (165, 236))
    return picture


def objective() -> Picture:
    """What is optimised."""
    picture = Picture(
        900, 360, "The objective: predict every teacher's embedding, and keep its similarities"
    )
    picture.box((15, 150, 110, 56), "example\na text", fill=PLAIN)
    picture.box((180, 60, 150, 60), "student\ntrained", fill=GREEN)
    picture.box((180, 240, 150, 60), "teachers\nfrozen, stored once", fill=BLUE)
    picture.arrow((125, 168), (152, 168), (152, 90), (178, 90))
    picture.arrow((125, 188), (152, 188), (152, 270), (178, 270))
    picture.box((390, 20, 150, 60), "heads\none per teacher", fill=GREEN)
    picture.arrow((330, 82), (388, 52))
    picture.box((600, 20, 150, 60), "mean and scale\nof each dimension", fill=PLAIN)
    picture.arrow((540, 50), (598, 50))
    picture.box((390, 240, 150, 60), "standardise\nmean 0, scale 1", fill=BLUE)
    picture.arrow((330, 270), (388, 270))
    picture.box(
        (600, 120, 280, 60), "likelihood term\nhow well are the targets predicted?", fill=AMBER
    )
    picture.arrow((675, 80), (675, 118))
    picture.box(
        (600, 235, 280, 70),
        "relational term\ndo cosine similarities in the batch\nfollow the teachers' mean?",
        fill=AMBER,
    )
    picture.arrow((540, 260), (570, 260), (570, 150), (598, 150))
    picture.arrow((540, 282), (598, 282))
    picture.arrow((330, 104), (360, 104), (360, 200), (740, 200), (740, 233))
    picture.text(
        (450, 345),
        "loss = loss_weight · likelihood term, weighted over teachers, + geometry_weight · relational term",
        small=True,
    )
    return picture


def heads() -> Picture:
    """How low-rank heads keep many teachers cheap."""
    picture = Picture(
        900, 300, "Low-rank heads: a shared hidden layer, narrow maps, one linear layer per teacher"
    )
    picture.box((15, 110, 130, 70), "student\n256 numbers", fill=GREEN)
    picture.box((210, 170, 140, 70), "hidden layer\n512 units, shared", fill=PLAIN)
    picture.arrow((145, 160), (178, 160), (178, 205), (208, 205))
    picture.box((420, 100, 130, 60), "128 numbers\nmean_rank", fill=PLAIN)
    picture.box((420, 220, 130, 60), "64 numbers\nscale_rank", fill=PLAIN)
    picture.arrow((350, 195), (384, 195), (384, 130), (418, 130))
    picture.arrow((350, 215), (384, 215), (384, 250), (418, 250))
    picture.box((620, 60, 250, 70), "means of all teachers\none matrix product", fill=BLUE)
    picture.box(
        (620, 210, 250, 70), "scales of all teachers\none matrix product, softly bounded", fill=BLUE
    )
    picture.arrow((145, 130), (178, 130), (178, 75), (618, 75))
    picture.text((395, 67), "linear part: the student itself, not normalised", small=True)
    picture.arrow((550, 130), (584, 130), (584, 112), (618, 112))
    picture.arrow((550, 250), (618, 250))
    return picture


def store() -> Picture:
    """How embeddings are stored."""
    picture = Picture(
        900, 290, "The embedding store: shards of consecutive rows, each with a key of its own"
    )
    picture.box((15, 20, 180, 250), "", fill=PLAIN)
    picture.text((105, 44), "corpus", bold=True)
    for number, words in enumerate(("first 4,096 rows", "next 4,096 rows", "appended rows")):
        picture.box((30, 60 + 68 * number, 150, 54), words, fill=GREEN if number == 2 else WHITE)
        picture.arrow((180, 87 + 68 * number), (258, 87 + 68 * number))
        picture.box(
            (260, 60 + 68 * number, 230, 54),
            "key\nhash of teacher identity and row ids",
            fill=PLAIN,
        )
        picture.arrow((490, 87 + 68 * number), (568, 87 + 68 * number))
        state = "computed now" if number == 2 else "found, checksum verified"
        picture.box(
            (570, 60 + 68 * number, 240, 54),
            f"shard-{number:05d}.arrow\n{state}",
            fill=GREEN if number == 2 else BLUE,
        )
    picture.text((690, 44), "artifacts/text/embeddings/corpus/<teacher>/", small=True)
    return picture


def orchestration() -> Picture:
    """Who decides what."""
    picture = Picture(
        900, 330, "Prefect decides when, DVC decides what is stale, MLflow keeps the versions"
    )
    picture.band((10, 10, 880, 90), "Prefect: when to run, in which order, what to retry", AMBER)
    picture.box((30, 42, 170, 44), "schedule or event", fill=WHITE)
    picture.box((260, 42, 230, 44), "flow: one task per stage", fill=WHITE)
    picture.box((550, 42, 320, 44), "tasks: publish, gate, promote, report", fill=WHITE)
    picture.arrow((200, 64), (258, 64))
    picture.arrow((490, 64), (548, 64))
    picture.band((10, 120, 500, 90), "DVC: what is stale", BLUE)
    picture.box((30, 152, 220, 44), "dvc.lock: hashes of inputs", fill=WHITE)
    picture.box((290, 152, 200, 44), "cache of outputs", fill=WHITE)
    picture.arrow((375, 86), (375, 150))
    picture.text((384, 112), "dvc repro --single-item <stage>", small=True, anchor="start")
    picture.band((10, 230, 500, 90), "polydistill: the stages", GREEN)
    picture.box((30, 262, 460, 44), "files in → polydistill <stage> → files out", fill=WHITE)
    picture.arrow((260, 210), (260, 260))
    picture.text((269, 224), "runs a plain command", small=True, anchor="start")
    picture.band((540, 120, 350, 200), "MLflow: the versions", RED)
    picture.box((560, 155, 310, 62), "runs and registry\nmetrics, bundles, aliases", fill=WHITE)
    picture.box((560, 238, 310, 62), "ledger\nevery move of an alias, hash-chained", fill=WHITE)
    picture.arrow((800, 86), (800, 153))
    return picture


PICTURES = {
    "pipeline": pipeline,
    "objective": objective,
    "heads": heads,
    "store": store,
    "orchestration": orchestration,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        Path(__file__).with_name(f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
