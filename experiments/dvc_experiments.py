"""DVC experiments: named runs with changed parameters, stored in a workspace's own git repository."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from polydistill.errors import InfrastructureError, StageError
from polydistill.integrations.dvc.stages import BLOCKED, DVC
from polydistill.integrations.processes import child_environment, run_command

EXPERIMENT_TIMEOUT_S = 3600.0
SETTINGS = "[core]\n    no_scm = false\n[cache]\n    dir = cache\n"
"""The content of `.dvc/config.local`: DVC experiments need git, and the workspace gets its own cache."""
UNTRACKED = "/config.local\n/tmp\n/cache\n"


class DvcExperiments:
    """The DVC experiments of a workspace.

    Args:
        folder: The workspace. It gets its own git repository, whose last commit is the baseline.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self) -> None:
        """Create the workspace's git repository and DVC settings. Call this before any other DVC command."""
        home = self._folder / ".dvc"
        (home / "config.local").write_text(SETTINGS, encoding="utf-8")
        (home / ".gitignore").write_text(UNTRACKED, encoding="utf-8")
        if not (self._folder / ".git").exists():
            self._git("init", "--quiet", "--initial-branch=main")
            self._git("config", "user.name", "polydistill")
            self._git("config", "user.email", "polydistill@localhost")
            self._git("config", "commit.gpgsign", "false")

    def commit(self, message: str) -> None:
        """Commit the workspace: its current state is the baseline of later experiments."""
        self._git("add", "--all")
        if self._git("status", "--porcelain"):
            self._git("commit", "--quiet", "--message", message)

    def restore(self) -> None:
        """Restore the files of the baseline, if there is one. Files that git ignores are kept."""
        if self._has_baseline:
            self._git("reset", "--quiet", "--hard")
            self._git("clean", "--quiet", "--force", "-d")

    def names(self) -> set[str]:
        """Return the names of the finished experiments on the baseline."""
        return set(self._dvc("exp", "list", "--name-only").split())

    def run(self, name: str, changes: Mapping[str, object], target: str) -> None:
        """Run a stage with changed parameters as an experiment.

        The workspace is restored to the baseline first.

        Args:
            name: The name of the experiment.
            changes: The new values, by dotted key of `params.yaml`; None removes the key.
            target: The stage to run.

        Raises:
            InfrastructureError: Another process holds a lock, or a signal ended the stage.
            StageError: The stage failed.
        """
        self.restore()
        settings = [part for key, value in changes.items() for part in ("-S", _setting(key, value))]
        finished = run_command(
            [*DVC, "exp", "run", "--name", name, *settings, target],
            self._folder,
            timeout_s=EXPERIMENT_TIMEOUT_S,
        )
        if finished.exit_code:
            output = "\n".join(finished.lines[-24:])
            blocked = finished.exit_code < 0 or any(sign in output for sign in BLOCKED)
            kind = InfrastructureError if blocked else StageError
            raise kind(f"The experiment {name!r} failed. Its last lines:\n{output}")

    def remove(self, name: str) -> None:
        """Delete an experiment."""
        self._dvc("exp", "remove", name)

    @property
    def _has_baseline(self) -> bool:
        return (self._folder / ".git" / "refs" / "heads" / "main").exists()

    def _git(self, *arguments: str) -> str:
        return self._answer(["git", *arguments])

    def _dvc(self, *arguments: str) -> str:
        return self._answer([*DVC, *arguments])

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
    """Return a change in Hydra's override grammar: `~` removes a key, `++` sets or adds it."""
    return f"~{key}" if value is None else f"++{key}={value}"
