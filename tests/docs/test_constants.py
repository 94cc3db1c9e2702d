"""Numbers in the documentation are those of the code.

`CONSTANTS` is a table of a page, a pattern whose group is the number, and the constant. Add a row for each number that
describes the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import yaml

from flows.notification import MAX_CHARACTERS
from polydistill.cli.registry import gc
from polydistill.config.data import CorpusParams, StoreParams
from polydistill.config.operations import DriftParams, GateParams
from polydistill.data.groups import EXACT_ROWS, TEST_SHARE
from polydistill.data.images import MAX_PIXELS
from polydistill.data.modalities import vision
from polydistill.data.perturbations.typos import CHARACTERS_PER_TYPO
from polydistill.data.smiles import MAX_ATOMS
from polydistill.errors import PolydistillError
from polydistill.evaluation import latency
from polydistill.evaluation.attribution import WIDTH
from polydistill.evaluation.predictions import MIN_TEST_EXAMPLES
from polydistill.evaluation.statistics.bootstrap import RESAMPLES
from polydistill.export import onnx
from polydistill.integrations.mlflow.ledger import LOCK_TIMEOUT_S
from polydistill.registry import publication
from polydistill.registry.ledger import Action
from polydistill.stages.validate import EXAMPLES
from polydistill.teachers import TEACHERS
from polydistill.teachers._texts import BATCH_TOKENS
from polydistill.training.calibration import COVERAGE
from tests.docs.blocks import ROOT

WORDS = {"three": 3, "five": 5, "eight": 8, "a fifth": 0.2, "2^25": 2**25, "half": 0.5}
SETTINGS_OF_RULES = {"confidence", "resamples", "commercial_licences"}
"""Settings of the gate that are no rules."""


def defaults(function: Callable[..., object]) -> dict[str, Any]:
    """Return the defaults of a function's arguments."""
    arguments = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in arguments}


CONSTANTS = [
    ("docs/guides/registry.md", r"wait for each other, up to (\d+) seconds", LOCK_TIMEOUT_S),
    ("docs/guides/gate.md", r"resampled ([\d,]+) times", RESAMPLES),
    ("docs/guides/gate.md", r"resampled ([\d,]+) times", GateParams().resamples),
    ("docs/guides/gate.md", r"the middle (\d+) %", GateParams().confidence * 100),
    ("docs/guides/gate.md", r"of (\d+) and of \d+\. After one warm-up", latency.BATCHES[0]),
    ("docs/guides/gate.md", r"of \d+ and of (\d+)\. After one warm-up", latency.BATCHES[1]),
    ("docs/guides/gate.md", r"up to (\d+) pairs\s+of single calls", latency.PAIRS),
    ("docs/guides/gate.md", r"timed within (\d+) s per batch size", latency.BUDGET_S),
    ("docs/guides/gate.md", r"Publishing stores (\w+) examples", publication.N_EXAMPLES),
    ("docs/guides/gate.md", r"by more than (\S+) times the largest", publication.TOLERANCE),
    ("docs/guides/production.md", r"must be at least ([\d.]+), or nothing", onnx.LEAST_COSINE),
    ("docs/guides/teachers.md", r"default: ([\d,]+) on a CPU", BATCH_TOKENS["cpu"]),
    ("docs/guides/teachers.md", r"on a CPU, ([\d,]+) on a GPU", BATCH_TOKENS["cuda"]),
    ("docs/guides/your-own-data.md", r"Up to ([\d,]+) rows, the search", EXACT_ROWS),
    ("docs/guides/schedules.md", r"discrepancy: ([\d,]+) rows each", DriftParams().rows),
    ("docs/guides/schedules.md", r"`level: ([\d.]+)`", DriftParams().level),
    ("docs/guides/images.md", r"at (\d+) x \d+ pixels", vision.HASH_SIDE),
    ("docs/guides/images.md", r"sides below (\d+) or", vision.LEAST_SIDE),
    ("docs/guides/images.md", r"or above ([\d,]+) pixels", vision.GREATEST_SIDE),
    ("docs/guides/images.md", r"more than (\S+) pixels", MAX_PIXELS),
    ("docs/guides/molecules.md", r"more than (\d+) atoms", MAX_ATOMS),
    ("docs/guides/teachers.md", r"to its first (\d+) principal", WIDTH),
    ("docs/guides/reproduce.md", r"in the last (\d+) hours", defaults(gc)["older_than_h"]),
    ("docs/guides/reproduce.md", r"`--keep-versions (\d+)`", defaults(gc)["keep_versions"]),
    ("docs/guides/notifications.md", r"has at most ([\d,]+) characters", MAX_CHARACTERS),
    ("docs/guides/your-own-data.md", r"shows up to (\w+) rows", EXAMPLES),
    ("docs/guides/your-own-data.md", r"fewer than (\d+) test examples", MIN_TEST_EXAMPLES),
    ("docs/guides/your-own-data.md", r"one typo per (\d+) characters", CHARACTERS_PER_TYPO),
    ("docs/guides/your-own-data.md", r"without it, (a fifth) of the groups", TEST_SHARE),
    ("docs/guides/your-own-data.md", r"held_out: ([\d.]+)", CorpusParams.model_fields["held_out"].default),
    ("docs/guides/predicting-teachers.md", r"should contain (\d+) %", COVERAGE * 100),
    ("docs/concepts/store.md", r"contains ([\d,]+) consecutive rows", StoreParams().shard_rows),
]  # fmt: skip


def text(page: str) -> str:
    """Return a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def number(written: str) -> float:
    """Return what a page writes as a number or a word."""
    return WORDS[written] if written in WORDS else float(written.replace(",", ""))


@pytest.mark.parametrize(("page", "pattern", "constant"), CONSTANTS)
def test_a_number_is_the_constant_of_the_code(page: str, pattern: str, constant: float) -> None:
    found = re.findall(pattern, text(page))

    assert found, f"{page} does not say {pattern!r}: change the row of CONSTANTS"
    assert [number(one) for one in found] == pytest.approx([constant] * len(found))


def test_the_rules_of_the_gate_are_those_of_the_settings() -> None:
    rows = re.findall(
        r"^\| `[\w-]+` \| `(\w+)` \| (\S+) \|", text("docs/guides/gate.md"), re.MULTILINE
    )

    said = {name: yaml.safe_load(default.replace("\N{MINUS SIGN}", "-")) for name, default in rows}

    fields = GateParams().model_dump(mode="json")
    assert said == {key: value for key, value in fields.items() if key not in SETTINGS_OF_RULES}


def test_the_exit_codes_are_those_of_the_errors() -> None:
    said = re.findall(r"^\| (\d) \| ", text("docs/guides/production.md"), re.MULTILINE)

    codes = {error.exit_code for error in below(PolydistillError)}

    assert {int(code) for code in said} == codes | {0}


def test_the_actions_of_the_ledger_are_all_named() -> None:
    row = re.search(r"^\| `action` \| (.*) \|$", text("docs/guides/registry.md"), re.MULTILINE)

    assert row is not None
    assert set(re.findall(r"`(\w+)`", row[1])) == set(get_args(Action))


@pytest.mark.parametrize("family", TEACHERS.names())
def test_the_defaults_of_a_teacher_family_are_those_of_the_code(family: str) -> None:
    code = TEACHERS.option_defaults(family)

    pages = "".join(text(f"docs/guides/{name}.md") for name in ("teachers", "images", "molecules"))
    row = re.search(rf"^\| `{family}` \| (.*) \|$", pages, re.MULTILINE)

    assert row, f"no guide has a row for {family}"
    for option, default in re.findall(r"`(\w+)` (\d+(?:\.\d+)?)", row[1]):
        assert code[option] == float(default)


def below(error: type[PolydistillError]) -> Iterator[type[PolydistillError]]:
    """Yield an error and everything below it in the tree."""
    yield error
    for child in error.__subclasses__():
        yield from below(child)
