"""Runs the fault harness: `python -m tests.faults [--only kills] [--stage distill]`, and writes docs/reliability.md.

Finished trials are kept in `.polydistill/faults/*.jsonl` and not repeated. `--again` starts over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from tests.faults.machine import started
from tests.faults.project import build
from tests.faults.report import write
from tests.faults.trials import References, Result, Trial, damage_trials, fault_trials, world_trials

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / ".polydistill" / "faults"
GROUPS = ("kills", "errors", "damage", "world")


def main() -> int:
    """Run the trials that are missing, in two processes, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--only", choices=GROUPS, action="append", help="a group of trials; repeatable"
    )
    parser.add_argument("--stage", help="the start of a step's or file's name")
    parser.add_argument("--every", type=int, default=1, help="only every n-th trial")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help="forget the finished trials")
    parser.add_argument("--report", action="store_true", help="only write the report")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the server of a worker too
    if options.worker is not None:
        work(options)
        return 0
    if options.again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    if not options.report:
        words = [*sys.argv[1:], "--worker"]
        words = [word for word in words if word != "--again"]
        workers = [
            subprocess.Popen([sys.executable, "-m", "tests.faults", *words, str(n)], cwd=REPOSITORY)
            for n in range(options.workers)
        ]
        try:
            if sum(abs(worker.wait()) for worker in workers):
                return 1
        finally:
            for worker in workers:
                worker.terminate()
    results = read()
    write(results, REPOSITORY / "docs" / "reliability.md")
    failed = [one for one in results if not one.holds]
    for one in failed:
        print(f"{one.end}: {one.key}\n{one.detail}\n")  # noqa: T201 - a command
    print(f"{len(results)} trials, {len(failed)} failed: docs/reliability.md")  # noqa: T201
    return int(bool(failed))


def work(options: argparse.Namespace) -> None:
    """Run every n-th of the missing trials, and append each result to a file."""
    folder, sources = FOLDER / f"worker-{options.worker}", _sources()
    stamp = folder / "sources"
    is_built = stamp.exists() and stamp.read_text() == sources
    if not is_built:
        shutil.rmtree(folder, ignore_errors=True)
    done = FOLDER / "done.txt"
    finished = set(done.read_text().splitlines()) if done.exists() else set()
    with started(folder) as machine:
        references = References(machine)
        wanted = [one for one in _chosen(references, options) if one.key not in finished]
        mine = wanted[options.worker :: options.workers]
        if mine and not is_built:
            build(machine)
            stamp.write_text(sources)
        for number, trial in enumerate(mine):
            begun = time.monotonic()
            results = trial.results(machine)
            with (FOLDER / f"results-{options.worker}.jsonl").open("a") as file:
                file.writelines(json.dumps(asdict(one)) + "\n" for one in results)
            with done.open("a") as file:
                file.write(f"{trial.key}\n")
            ends = ", ".join(sorted({one.end for one in results}))
            seconds = time.monotonic() - begun
            print(f"{number + 1}/{len(mine)} {trial.key}: {ends} ({seconds:.1f} s)", flush=True)  # noqa: T201


def _sources() -> str:
    """Return the sha256 of the code; the projects of an interrupted run are used again with the same code."""
    digest = hashlib.sha256()
    for folder in ("src", "recipes", "tests/faults", "tests/life"):
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _chosen(references: References, options: argparse.Namespace) -> Iterable[Trial]:
    trials = [*fault_trials(references), *damage_trials(), *world_trials(references)]
    chosen = [
        one
        for one in trials
        if (not options.only or one.group in options.only)
        and one.step.startswith(options.stage or "")
    ]
    return chosen[:: options.every]


def read() -> list[Result]:
    """Return the results of all finished trials; of one that ran twice, the last."""
    found = {}
    for file in sorted(FOLDER.glob("results-*.jsonl")):
        for line in file.read_text().splitlines():
            result = Result(**json.loads(line))
            found[result.key] = result
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())
