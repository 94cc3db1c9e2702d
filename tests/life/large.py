"""A corpus that does not fit in memory: peak memory of each stage, and the same bytes after a kill in each stage.

Run it as `python -m tests.life.large ROWS [FOLDER]`, or `make large`, which takes three million rows. It writes
`docs/results/large.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from polydistill.data.files import read_table

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "docs" / "results" / "large.json"
FILES, SEED = 20, 0
TEACHER = "glove-50d"
STAGES = (("validate", "text"), ("embed", "text", TEACHER), ("distill", "text"))
REPEATED, NEAR = 0.01, 0.02
"""The shares of the rows that repeat an earlier row, and that differ from one by a word."""
OUTPUTS = ("corpus", f"embeddings/corpus/{TEACHER}", "student", "heads")


@dataclass(frozen=True)
class Stage:
    """The measurements of one stage.

    Attributes:
        stage: The command.
        seconds: Time of the undisturbed run.
        peak_mib: Largest resident set of the undisturbed run, with the pages of mapped files.
        tenth_seconds: Time of a run on a tenth of the rows.
        tenth_peak_mib: Its largest resident set.
        killed_after_s: Time after which the other run was killed.
    """

    stage: str
    seconds: float
    peak_mib: float
    tenth_seconds: float
    tenth_peak_mib: float
    killed_after_s: float


def main(rows: int, folder: Path) -> None:
    """Measure every stage on two projects with the same corpus, one of which is killed once in each stage, and on a third
    with a tenth of the rows.
    """
    whole, killed, tenth = (folder / name for name in ("whole", "killed", "tenth"))
    for project in (whole, killed, tenth):
        write_project(project)
    write_corpus(whole / "data" / "large", rows)
    write_corpus(tenth / "data" / "large", rows // 10)
    (killed / "data" / "large").symlink_to(whole / "data" / "large")
    stages = []
    for command in STAGES:
        tenth_seconds, tenth_peak = run(tenth, command)
        seconds, peak = run(whole, command)
        after = 0.6 * seconds
        run(killed, command, kill_after=after)
        run(killed, command)
        figures = (seconds, peak, tenth_seconds, tenth_peak, after)
        stages.append(Stage(" ".join(command), *(round(one, 1) for one in figures)))
        sys.stderr.write(f"{stages[-1]}\n")
    digests = [digest(project) for project in (whole, killed)]
    report = {
        "rows": rows,
        "stages": [asdict(one) for one in stages],
        "same_bytes": digests[0] == digests[1],
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if digests[0] != digests[1]:
        sys.exit("The interrupted runs wrote other bytes.")


def write_project(folder: Path) -> None:
    """Write a project whose text corpus is in `data/large`, with one teacher and one epoch."""
    (folder / "data").mkdir(parents=True)
    tree = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    block = {
        "corpus": {"path": "data/large", "rows": None},
        "tasks": {},
        "teachers": {TEACHER: {}},
        "training": {"epochs": 1, "evals_per_epoch": 4},
    }
    params = {"seed": tree["seed"], "modalities": ["text"], "text": block}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def write_corpus(folder: Path, rows: int) -> None:
    """Write texts that are made of the beginnings and ends of the glosses of the default corpus."""
    folder.mkdir(parents=True)
    texts = read_table(REPOSITORY / "data" / "text" / "corpus.parquet")["text"].tolist()
    words = [text.split() for text in texts]
    draw, size = np.random.default_rng(SEED), rows // FILES
    for number in range(FILES):
        one, other = draw.integers(len(words), size=(2, size))
        made = [" ".join(words[a][:7] + words[b][-7:]) for a, b in zip(one, other, strict=True)]
        for row in np.flatnonzero(draw.random(size) < REPEATED)[1:]:
            made[row] = made[draw.integers(row)]
        for row in np.flatnonzero(draw.random(size) < NEAR)[1:]:
            made[row] = f"{made[draw.integers(row)]} {number}"
        pd.DataFrame({"text": made}).to_parquet(folder / f"part-{number:02d}.parquet")


def run(
    project: Path, command: tuple[str, ...], kill_after: float | None = None
) -> tuple[float, float]:
    """Run a stage; return the seconds and the peak memory in MiB. With `kill_after`, kill it after that time."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "polydistill", *command],
        cwd=project,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    if kill_after is not None:
        time.sleep(kill_after)
        os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != (0 if kill_after is None else -signal.SIGKILL):
        sys.exit(f"polydistill {' '.join(command)} ended with {process.returncode}.")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def digest(project: Path) -> str:
    """Return the sha256 of all outputs."""
    total = hashlib.sha256()
    for output in OUTPUTS:
        folder = project / "artifacts" / "text" / output
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            total.update(str(file.relative_to(folder)).encode())
            with file.open("rb") as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


if __name__ == "__main__":
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    try:
        main(int(sys.argv[1]), place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
