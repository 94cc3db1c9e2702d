"""Trials: one fault at one operation, or one damaged file, and what it ends in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.machine import KINDS, Finished, Machine
from tests.faults.project import STEPS, Step, dangling, outcome

N_KILLS, N_ERRORS = 30, 3
"""Points per step: SIGKILL, and each other fault of `KINDS`."""
TYPED = range(1, 8)
"""Exit codes of polydistill; see errors.py."""
NOTICES = ("killed", "incomplete or damaged", "restored", "rebuilt", "heal", "damaged")


@dataclass(frozen=True)
class Result:
    """What a trial ended in.

    Attributes:
        group: `kills`, `errors`, `damage` or `world`.
        step: The step, or the file that was damaged.
        what: The fault.
        end: `survived`, `healed` (with a notice), `typed` (an error of ours), `handled` (the same result), `input`
            (a valid input that differs), `traceback`, `untyped`, `silent` (another result), or `broken` (a rerun fails
            or differs).
        detail: The end of the output and the differences, if it failed.
    """

    group: str
    step: str
    what: str
    end: str
    detail: str = ""

    @property
    def key(self) -> str:
        """The name of the trial."""
        return f"{self.group} {self.step} {self.what}"

    @property
    def holds(self) -> bool:
        """Whether this is how a fault should end."""
        return self.end in {"survived", "healed", "typed", "handled", "input"}


@dataclass(frozen=True)
class Trial:
    """A trial that has not run yet, and the function that runs it, which leaves the names to it or returns several."""

    group: str
    step: str
    what: str
    run: Callable[[Machine], list[Result]]

    @property
    def key(self) -> str:
        """See `Result.key`."""
        return f"{self.group} {self.step} {self.what}"

    def results(self, machine: Machine) -> list[Result]:
        """Run the trial."""
        found = self.run(machine)
        return [
            one if one.group else replace(one, group=self.group, step=self.step, what=self.what)
            for one in found
        ]


class References:
    """The outcome and the number of operations of each step without a fault, each computed once."""

    def __init__(self, machine: Machine) -> None:
        self.of = cache(lambda step: self._run(machine, step))

    @staticmethod
    def _run(machine: Machine, step: Step) -> tuple[int, dict[str, Any], Finished]:
        machine.reset(step.base)
        done = machine.run(*step.command, at=0)
        return done.operations, outcome(machine.root, step.name), done


def fault_trials(references: References) -> Iterator[Trial]:
    """Yield the trials that inject a fault at an operation, spread evenly over each step."""
    for step in STEPS:
        for kind in KINDS:
            n_points = N_KILLS if kind == "kill" else N_ERRORS
            for point in range(n_points):
                group = "kills" if kind == "kill" else "errors"
                what = f"{kind} at {point + 1} of {n_points}"
                yield Trial(
                    group, step.name, what, _fault(references, step, kind, point / n_points)
                )


def _fault(
    references: References, step: Step, kind: str, share: float
) -> Callable[[Machine], list[Result]]:
    def run(machine: Machine) -> list[Result]:
        n_operations, expected, _ = references.of(step)
        at = 1 + round(share * n_operations)
        machine.reset(step.base)
        first = machine.run(*step.command, fault=kind, at=at)
        lost = dangling(machine.root)
        again = machine.run(*step.command)
        end, detail = _judge_fault(kind, (first, again), expected, outcome(machine.root, step.name))
        if lost:
            end, detail = "broken", f"a version lost its files\n{detail}"
        detail = detail and f"operation {at} of {n_operations}\n{detail}"
        return [Result("", "", "", end, detail)]

    return run


def _judge_fault(
    kind: str, ran: tuple[Finished, Finished], expected: Mapping[str, Any], found: Mapping[str, Any]
) -> tuple[str, str]:
    first, again = ran
    shown = f"{_tail(first)}\n--- rerun\n{_tail(again)}"
    if kind not in {"kill", "term"} and has_traceback(first):
        return "traceback", shown
    if kind not in {"kill", "term"} and first.code and first.code not in TYPED:
        return "untyped", shown
    if has_traceback(again):
        return "broken", shown
    if (again.code and not _is_done(first, again)) or found != expected:
        return "broken", f"{_difference(expected, found)}\n{shown}"
    return ("healed" if any(one in again.output for one in NOTICES) else "survived"), ""


def _is_done(first: Finished, again: Finished) -> bool:
    """Return whether the rerun was refused because the first run had already done everything."""
    return again.code in TYPED and ("already" in again.output or "is champion" in again.output)


def _difference(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    lines = []
    for part, value in expected.items():
        if isinstance(value, Mapping) and isinstance(found[part], Mapping):
            keys = sorted(
                str(key)
                for key in value.keys() | found[part].keys()
                if value.get(key) != found[part].get(key)
            )
            lines += [
                f"{part}: {key}: {value.get(key)} became {found[part].get(key)}" for key in keys
            ]
        elif value != found[part]:
            lines.append(f"{part}: {value} became {found[part]}")
    return "\n".join(lines[:12])


def has_traceback(done: Finished) -> bool:
    """Return whether there is a traceback in the output; those of DVC itself, which our error sums up, do not count."""
    blocks = done.output.split("Traceback (most recent call last)")[1:]
    return any("/src/polydistill/" in block or "/dvc/" not in block for block in blocks)


def _tail(done: Finished) -> str:
    return f"exit {done.code}: {done.output[-1500:]}"


# Damaged files


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _flip(content: bytes, place: float) -> bytes:
    at = min(int(len(content) * place), len(content) - 1)
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] if content else b"\x04"


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut in half": lambda path: _change(path, lambda content: content[: len(content) // 2]),
    "last byte cut": lambda path: _change(path, lambda content: content[:-1]),
    "bit flipped near the start": lambda path: _change(path, lambda content: _flip(content, 0.02)),
    "bit flipped in the middle": lambda path: _change(path, lambda content: _flip(content, 0.5)),
    "bit flipped at the end": lambda path: _change(path, lambda content: _flip(content, 0.98)),
    "emptied": lambda path: _change(path, lambda _: b""),
    "deleted": Path.unlink,
    "a folder in its place": _folder,
    "another type": lambda path: _change(path, lambda _: b"[[1, null]]\n"),
    "binary": lambda path: _change(path, lambda _: bytes(range(256)) * 4),
}
"""Each damages one file."""


@dataclass(frozen=True)
class Reader:
    """A command, and the files that it reads.

    Attributes:
        base: The state of the project.
        command: The program and its arguments.
        files: Patterns of the files.
        is_input: Whether the files are the user's: another valid content is another input.
        unfinished: The share of the command's operations after which it is killed before the damage; the files are
            those of the unfinished work.
    """

    base: str
    command: tuple[str, ...]
    files: tuple[str, ...]
    is_input: bool = False
    unfinished: float | None = None


SETTINGS = (
    "params.yaml",
    "params.resolved.yaml",
    "dvc.yaml",
    "data.dvc",
    ".dvc/config",
    ".dvcignore",
)
ENCODE = ("polydistill", "encode", "--modality", "text", "-o", "out.npy")
READERS = (
    Reader("validate@text", ("stage", "validate@text"), SETTINGS, is_input=True),
    Reader("validate@text", ("stage", "validate@text"), ("dvc.lock", ".dvc/tmp/rwlock", ".polydistill/dvc.lock")),
    Reader("validate@text", ("polydistill", "validate", "text"), ("data/text/*",), is_input=True),
    Reader("distill@text", ("polydistill", "distill", "text"), ("artifacts/text/embeddings/corpus/letters/*",)),
    Reader("distill@text", ("polydistill", "distill", "text"), (".polydistill/work/distill/*/checkpoints/**/*",), unfinished=0.6),
    Reader("embed@text-letters", ("polydistill", "embed", "text", "letters"), (".polydistill/work/embed/*/*",), unfinished=0.7),
    Reader("evaluate@text", ("polydistill", "evaluate", "text"), ("artifacts/text/student/*", "artifacts/text/embeddings/benchmark/letters/*")),
    Reader("publish", ("polydistill", "publish", "text"), ("artifacts/text/student/*", "artifacts/text/heads/*", "artifacts/text/*.parquet", "reports/text/*.json", "dvc.lock", "data.dvc", "mlruns/mlflow.db")),
    Reader("publish", (*ENCODE[:2], "artifacts/text/student", "texts.txt", *ENCODE[2:]), ("artifacts/text/student/*",)),
    Reader("promote", ("polydistill", "promote", "text", "--dry-run"), ("mlruns/mlflow.db", "mlruns/exports/*.jsonl", "mlruns/artifacts/**/*.json", "mlruns/artifacts/**/*.parquet")),
    Reader("export done", (*ENCODE[:2], "out", "texts.txt", *ENCODE[2:]), ("out/*", "out/student/*")),
    Reader("promote", ("polydistill", "warm-start", "text", "models:/student-text/1"), ("mlruns/artifacts/*/artifacts/heads/*",)),
    Reader("promote", (*ENCODE[:2], "models:/student-text/1", "texts.txt", *ENCODE[2:]), ("mlruns/artifacts/models/*/artifacts/MLmodel", "mlruns/artifacts/models/*/artifacts/artifacts/student/*")),
)  # fmt: skip


def damage_trials() -> Iterator[Trial]:
    """Yield the trials that damage one file; the files of a pattern are known only when the trial runs."""
    for number, reader in enumerate(READERS):
        for pattern in reader.files:
            for name in DAMAGES:
                step = f"{pattern} ({' '.join(reader.command[:2])}, {reader.base})"
                yield Trial("damage", step, name, _damage(reader, number, pattern, name))


def _damage(
    reader: Reader, number: int, pattern: str, name: str
) -> Callable[[Machine], list[Result]]:
    def run(machine: Machine) -> list[Result]:
        base = f"damage {number}"
        if not (machine.folder / "bases" / base).exists():
            _make_base(machine, reader, base)
        found: list[Result] = []
        for file in _sample(machine.folder / "bases" / base / "project", pattern):
            machine.reset(base)
            DAMAGES[name](machine.root / file)
            before = outcome(machine.root)
            found.append(_judge_damage(machine, reader, number, (file, name), before))
        return found

    return run


def _make_base(machine: Machine, reader: Reader, base: str) -> None:
    """Keep the state before the damage and, for commands without a fault, the reference."""
    machine.reset(reader.base)
    (machine.root / "texts.txt").write_text("one two\nthree four\n")
    machine.keep(base)
    done = machine.run(*reader.command, at=0)
    state = {"outcome": outcome(machine.root), "output": done.output}
    (machine.folder / f"{base} done.json").write_text(json.dumps(state))
    if done.code:
        raise RuntimeError(f"{reader} exited with {done.code}:\n{done.output}")
    if reader.unfinished is not None:
        machine.reset(base)
        machine.run(*reader.command, at=round(done.operations * reader.unfinished))
        machine.keep(base)


def _sample(root: Path, pattern: str, most: int = 8) -> list[Path]:
    """Return at most `most` files, with different names first."""
    files = sorted(path.relative_to(root) for path in root.glob(pattern) if path.is_file())
    by_name = {path.name: path for path in reversed(files)}
    chosen = sorted(by_name.values())
    return chosen[:: max(1, -(-len(chosen) // most))]


def _judge_damage(
    machine: Machine,
    reader: Reader,
    number: int,
    damaged: tuple[Path, str],
    before: Mapping[str, Any],
) -> Result:
    file, name = damaged
    done = machine.run(*reader.command)
    reference = json.loads((machine.folder / f"damage {number} done.json").read_text())
    expected, found = reference["outcome"], json.loads(json.dumps(outcome(machine.root)))
    # A command that only prints leaves the damage as it is, and prints what it prints without the damage.
    if found == json.loads(json.dumps(before)) and done.output == reference["output"]:
        expected = found
    for files in (
        expected["files"],
        found["files"],
    ):  # an undamaged command does not repair its input
        files.pop(file.as_posix(), None)
    differs = "input" if reader.is_input else "silent"
    end = _end_of(done, "handled" if found == expected else differs)
    detail = "" if end in {"typed", "handled", "input"} else _tail(done)
    if end == "silent":
        detail = f"{_difference(expected, found)}\n{detail}"
    named = "/".join(part for part in file.parts if len(part) < 30)
    return Result(
        "damage", f"{named} ({' '.join(reader.command[:2])}, {reader.base})", name, end, detail
    )


# The machine and its surroundings


def world_trials(references: References) -> Iterator[Trial]:
    """Yield the trials of an unusual environment."""
    for name, prepare in WORLDS.items():
        for step in (STEPS[1], STEPS[3], STEPS[6], STEPS[10]):
            yield Trial("world", step.name, name, _world(references, step, prepare))
    for step in STEPS[1:10]:
        yield Trial("world", step.name, "two runs in one folder", _two_runs(references, step))


def _world(
    references: References, step: Step, prepare: Callable[[Machine], dict[str, Any]]
) -> Callable[[Machine], list[Result]]:
    def run(machine: Machine) -> list[Result]:
        _, expected, _ = references.of(step)
        machine.reset(step.base)
        options = prepare(machine)
        root = options.get("root", machine.root)
        done = machine.run(*step.command, **options)
        found = outcome(root, step.name)
        same = all(found[part] == expected[part] for part in ("files", "leftovers"))
        end = _end_of(done, "survived" if same else "silent")
        detail = (
            "" if end in {"survived", "typed"} else f"{_difference(expected, found)}\n{_tail(done)}"
        )
        return [Result("", "", "", end, detail)]

    return run


def _two_runs(references: References, step: Step) -> Callable[[Machine], list[Result]]:
    def run(machine: Machine) -> list[Result]:
        _, expected, _ = references.of(step)
        machine.reset(step.base)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda _: machine.run(*step.command), range(2)))
        done.append(machine.run(*step.command))
        found = outcome(machine.root, step.name)
        ends = [_end_of(one, "survived" if found == expected else "silent") for one in done]
        end = next((one for one in ends if one not in {"survived", "typed"}), "survived")
        shown = "\n---\n".join(map(_tail, done))
        detail = "" if end == "survived" else f"{_difference(expected, found)}\n{shown}"
        return [Result("", "", "", end, detail)]

    return run


def _end_of(done: Finished, otherwise: str) -> str:
    """Return the end of a command, or `otherwise` if it succeeded."""
    if has_traceback(done):
        return "traceback"
    if done.code:
        return "typed" if done.code in TYPED else "untyped"
    return otherwise


def _moved(machine: Machine, name: str, *, copy: bool = False) -> dict[str, Any]:
    target = machine.place / name
    (shutil.copytree if copy else shutil.move)(machine.root, target)
    return {"root": target}


WORLDS: dict[str, Callable[[Machine], dict[str, Any]]] = {
    "moved folder": lambda machine: _moved(machine, "moved"),
    "copied folder": lambda machine: _moved(machine, "copied", copy=True),
    "path with blanks and umlauts": lambda machine: _moved(machine, "Größe ü 模型 'x'"),
    "HOME unset": lambda _: {"changes": {"HOME": None}},
    "locale not UTF-8": lambda _: {"changes": {"LC_ALL": "POSIX", "LANG": None, "PYTHONUTF8": "0"}},
    "no user name": lambda _: {"changes": {"USER": None, "LOGNAME": None}},
}
