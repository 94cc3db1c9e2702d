"""A project that retrains every night, and the visible results of each run."""

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
    """The results of one run of the flow.

    Attributes:
        when: The time of the run.
        name: The state of the run: Promoted, Refused, Unchanged or Failed.
        message: The reason.
        stages: The state of each stage of the modality, in order: ran, restored, unchanged or failed.
        entries: The new entries of the ledger.
        aliases: The versions that the registry's aliases point to.
        notices: The events sent to the webhook.
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
        """The actions of the new entries."""
        return [entry.action for entry in self.entries]


@dataclass
class Shop:
    """The project, with its scheduler, its users and the receiver of its notices."""

    root: Path
    patch: pytest.MonkeyPatch
    nights: list[Night] = field(default_factory=list)
    _stages: dict[str, str] = field(default_factory=dict)
    _notices: list[str] = field(default_factory=list)

    def night(self, when: str, *, dies: str = "") -> Night:
        """Run the flow once, as the schedule does.

        Args:
            when: The time, in ISO 8601.
            dies: The command that is killed between the entry in the ledger and the change of the alias.
        """
        self._stages.clear()
        self._notices.clear()
        before = len(self.entries())
        self._at(when, "nightly")
        self.patch.setenv(preloaded.DEATH, dies)
        state = retrain("text", return_state=True)
        entries = self.entries()[before:]
        output = str(state.message)
        stages = {one: how for one, how in self._stages.items() if one != "params"}
        seen = stages, entries, self.aliases(), list(self._notices)
        night = Night(when, str(state.name), output, *seen)
        self.nights.append(night)
        return night

    def by_hand(self, when: str, *words: str) -> dict[str, Any]:
        """Run a command as a person and return its JSON object."""
        self._at(when, "ada")
        return commands.call_json(*words)

    def show(self, when: str, *words: str) -> str:
        """Run a command as a person and return its output."""
        self._at(when, "ada")
        program = [*commands.COMMAND, *words]
        finished = run_command(program, self.root, timeout_s=300, hidden=None)
        assert finished.exit_code == 0, finished.lines
        return "\n".join(line.rstrip() for line in finished.lines)

    def receive(self, batch: pd.DataFrame) -> None:
        """Write a new corpus to `data/` and add it to DVC."""
        deliver(self.root, batch)
        dvc.add(self.root, self.root / "data")

    def aliases(self) -> dict[str, int]:
        """Return the registry's aliases, without repairing anything."""
        with connected(self.root) as client:
            return MlflowRegistry(client, NAME).aliases()

    def entries(self) -> tuple[Entry, ...]:
        """Return the entries of the ledger file after checking the chain, without repairing anything."""
        file = ledger_file(self.root, NAME)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return read_chain(lines, NAME, file.name)

    def reproduce(self, _root: Path, stage: str) -> dvc.StageState:
        """Bring a stage up to date and record its state."""
        self._stages[stage] = "failed"
        state = _reproduce(self.root, stage)
        self._stages[stage] = state.state
        return state

    def receive_notice(self, _url: str, payload: Payload) -> None:
        """Record a notice in place of the webhook."""
        self._notices.append(str(payload["event"]))

    def _at(self, when: str, who: str) -> None:
        self.patch.setenv(preloaded.CLOCK, when)
        self.patch.setenv(preloaded.DEATH, "")
        self.patch.setenv("POLYDISTILL_ACTOR", who)


def open_shop(root: Path, programs: Path, patch: pytest.MonkeyPatch, *, smoke_test: bool) -> Shop:
    """Make the project the working directory, and let the flow use the preloaded programs."""
    make_nightly_project(root, smoke_test=smoke_test)
    shop = Shop(root, patch)
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setenv("SHOP_WEBHOOK", WEBHOOK)
    patch.chdir(root)
    patch.setattr(commands, "COMMAND", (str(programs / "polydistill"),))
    patch.setattr(dvc, "DVC", (str(programs / "dvc"),))
    patch.setattr(dvc, "reproduce", shop.reproduce)
    patch.setattr(notices, "post", shop.receive_notice)
    return shop
