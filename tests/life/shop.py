"""A project that retrains every night, and what is to be seen of it the next morning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows import commands, notices
from flows.notification import Payload
from flows.retrain import retrain
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.mlflow.ledger import ledger_file
from polydistill.integrations.mlflow.registry import MlflowRegistry
from polydistill.integrations.mlflow.store import connected
from polydistill.integrations.processes import run_command
from polydistill.registry.ledger import Entry, read_chain
from tests.life import preloaded
from tests.life.nightly_project import deliver, make_nightly_project

NAME = "student-text"
WEBHOOK = "https://chat.example/secret"
_reproduce = dvc.reproduce


@dataclass(frozen=True)
class Night:
    """What one start of the flow has left.

    Attributes:
        when: The clock's.
        name: The run's state: Promoted, Refused, Unchanged, Failed.
        message: Why.
        stages: What each stage took, in order: ran, restored, unchanged or failed.
        entries: What the ledger has gained.
        aliases: Where the registry's aliases point.
        notices: The events that the team's webhook has heard of.
    """

    when: str
    name: str
    message: str
    stages: dict[str, str]
    entries: tuple[Entry, ...]
    aliases: dict[str, int]
    notices: list[str]

    @property
    def actions(self) -> list[str]:
        """What the new entries say was done."""
        return [entry.action for entry in self.entries]


@dataclass
class Shop:
    """The project, and the people around it."""

    root: Path
    patch: pytest.MonkeyPatch
    nights: list[Night] = field(default_factory=list)
    _stages: dict[str, str] = field(default_factory=dict)
    _heard: list[str] = field(default_factory=list)

    def night(self, when: str, *, dies: str = "") -> Night:
        """Let the schedule start the flow once.

        Args:
            when: The clock's, ISO 8601.
            dies: The command that is killed between the ledger's entry and the alias's move.
        """
        self._stages.clear()
        self._heard.clear()
        before = len(self.entries())
        self._at(when, "nightly")
        self.patch.setenv(preloaded.DEATH, dies)
        state = retrain("text", return_state=True)
        entries = self.entries()[before:]
        said = str(state.message)
        seen = dict(self._stages), entries, self.aliases(), list(self._heard)
        night = Night(when, str(state.name), said, *seen)
        self.nights.append(night)
        return night

    def by_hand(self, when: str, *words: str) -> dict[str, Any]:
        """Let a person call a command, and return its answer."""
        self._at(when, "ada")
        return commands.call_json(*words)

    def say(self, when: str, *words: str) -> str:
        """Return what a person sees of a command."""
        self._at(when, "ada")
        program = [*commands.COMMAND, *words]
        finished = run_command(program, self.root, timeout_s=300, hidden=None)
        assert finished.exit_code == 0, finished.lines
        return "\n".join(line.rstrip() for line in finished.lines)

    def receive(self, batch: pd.DataFrame) -> None:
        """Put a new corpus into `data/`, and give it to DVC."""
        deliver(self.root, batch)
        dvc.add(self.root, self.root / "data")

    def aliases(self) -> dict[str, int]:
        """Return where the registry's aliases point; mends nothing."""
        with connected(self.root) as client:
            return MlflowRegistry(client, NAME).aliases()

    def entries(self) -> tuple[Entry, ...]:
        """Return the ledger as the file has it, its chain checked; mends nothing."""
        file = ledger_file(self.root, NAME)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return read_chain(lines, NAME, file.name)

    def reproduce(self, _root: Path, stage: str) -> dvc.StageState:
        """Bring a stage up to date, and remember how."""
        self._stages[stage] = "failed"
        state = _reproduce(self.root, stage)
        self._stages[stage] = state.state
        return state

    def hear(self, _url: str, payload: Payload) -> None:
        """Be the team's webhook."""
        self._heard.append(str(payload["event"]))

    def _at(self, when: str, who: str) -> None:
        self.patch.setenv(preloaded.CLOCK, when)
        self.patch.setenv(preloaded.DEATH, "")
        self.patch.setenv("POLYDISTILL_ACTOR", who)


def open_shop(root: Path, programs: Path, patch: pytest.MonkeyPatch, *, smoke_test: bool) -> Shop:
    """Make the project, stand in it, and let the flow use the preloaded programs."""
    make_nightly_project(root, smoke_test=smoke_test)
    shop = Shop(root, patch)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setenv("SHOP_WEBHOOK", WEBHOOK)
    patch.chdir(root)
    patch.setattr(commands, "COMMAND", (str(programs / "polydistill"),))
    patch.setattr(dvc, "DVC", (str(programs / "dvc"),))
    patch.setattr(dvc, "reproduce", shop.reproduce)
    patch.setattr(notices, "post", shop.hear)
    return shop
