"""DVC's experiments: named runs with changed parameters, kept in a workspace's own git repository."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from polydistill.errors import InfrastructureError, StageError
from polydistill.integrations.dvc.stages import BLOCKED, DVC
from polydistill.integrations.processes import child_environment, run_command

EXPERIMENT_TIMEOUT_S = 3600.0
SETTINGS = "[core]\n    no_scm = false\n[cache]\n    dir = cache\n"
"""Of `.dvc/config.local`: experiments live in git, and what they make goes with the workspace."""
UNTRACKED = "/config.local\n/tmp\n/cache\n"


class DvcExperiments:
    """The experiments of a workspace.

    Args:
        folder: The workspace; it gets a git repository of its own, whose last commit is the baseline.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self) -> None:
        """Give the workspace its git repository and settings; before any other command of DVC in it."""
        home = self._folder / ".dvc"
        (home / "config.local").write_text(SETTINGS, encoding="utf-8")
        (home / ".gitignore").write_text(UNTRACKED, encoding="utf-8")
        if not (self._folder / ".git").exists():
            self._git("init", "--quiet", "--initial-branch=main")
            self._git("config", "user.name", "polydistill")
            self._git("config", "user.email", "polydistill@localhost")
            self._git("config", "commit.gpgsign", "false")

    def commit(self, message: str) -> None:
        """Make the workspace as it is the baseline of experiments to come."""
        self._git("add", "--all")
        if self._git("status", "--porcelain"):
            self._git("commit", "--quiet", "--message", message)

    def restore(self) -> None:
        """Put the baseline's files back, if there is one; what git ignores stays."""
        if self._has_baseline:
            self._git("reset", "--quiet", "--hard")
            self._git("clean", "--quiet", "--force", "-d")

    def names(self) -> set[str]:
        """Return the finished experiments on the baseline."""
        return set(self._dvc("exp", "list", "--name-only").split())

    def run(self, name: str, changes: Mapping[str, object], target: str) -> None:
        """Run a target with changed parameters as an experiment called `name`, and keep it.

        What the last experiment left in the workspace is put back first.

        Args:
            name: Of the experiment.
            changes: Dotted keys of `params.yaml` and their values; None removes the key.
            target: A stage.

        Raises:
            InfrastructureError: Another process holds a lock, or a signal ended the stage.
            StageError: The stage failed.
        """
        self.restore()
        settings = [part for key, value in changes.items() for part in ("-S", _setting(key, value))]
        finished = run_command(
            [*DVC, "--wait-for-lock", "exp", "run", "--name", name, *settings, target],
            self._folder,
            timeout_s=EXPERIMENT_TIMEOUT_S,
        )
        if finished.exit_code:
            said = "\n".join(finished.lines[-24:])
            blocked = finished.exit_code < 0 or any(sign in said for sign in BLOCKED)
            kind = InfrastructureError if blocked else StageError
            raise kind(f"The experiment {name!r} failed. Its last lines:\n{said}")

    def remove(self, name: str) -> None:
        """Forget an experiment."""
        self._dvc("exp", "remove", name)

    @property
    def _has_baseline(self) -> bool:
        return (self._folder / ".git" / "refs" / "heads" / "main").exists()

    def _git(self, *arguments: str) -> str:
        return self._answer(["git", *arguments])

    def _dvc(self, *arguments: str) -> str:
        return self._answer([*DVC, "--wait-for-lock", *arguments])

    def _answer(self, command: list[str]) -> str:
        result = subprocess.run(
            command,
            cwd=self._folder,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise StageError(f"`{' '.join(command)}` failed:\n{result.stderr.strip()}")
        return result.stdout


def _setting(key: str, value: object) -> str:
    """Return a change in Hydra's grammar, which adds a key where there is none."""
    return f"~{key}" if value is None else f"++{key}={value}"
