"""The ledger of a registered model in MLflow, and its copy as JSON lines for reading and for git.

The ledger is stored in three places:

- The tag `ledger_head` of the registered model contains the number and sha256 of the last entry. The tag is set in one
  transaction, and determines which entries belong to the ledger.
- Each entry is an artifact, which is never changed. The artifacts belong to a run of their own, because versions and
  their runs may be deleted.
- `mlruns/exports/<model>.ledger.jsonl` is a copy. It is restored from MLflow if a workspace was deleted.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

from polydistill.errors import InfrastructureError, LedgerError
from polydistill.integrations.mlflow import store
from polydistill.integrations.mlflow.registry import MlflowRegistry
from polydistill.project.files import write_atomic
from polydistill.project.lock import held
from polydistill.registry.ledger import NOTHING_BEFORE, Entry, read_chain, read_entry
from polydistill.registry.recorded import LedgerContent, RecordedRegistry

if TYPE_CHECKING:
    from mlflow import MlflowClient

HEAD_TAG, APPLIED_TAG, RUN_TAG = "ledger_head", "ledger_applied", "ledger_run"
EXPERIMENT = "ledger"
ENTRIES = "entries"
LOCK_TIMEOUT_S = 600.0  # the holder may load two models and run a smoke test
ACTOR_VARIABLE = "POLYDISTILL_ACTOR"
CI_VARIABLES = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID")
"""Variables with the user who started a CI job, on GitHub, GitLab and Jenkins."""
RESTORE = "If MLflow is right, move the file away, and `polydistill history` writes it again."


class MlflowLedger:
    """The ledger of one model in MLflow. See `registry.recorded.LedgerStore`.

    Args:
        root: The project folder.
        client: A connected client of MLflow.
        name: The name of the registered model.
    """

    def __init__(self, root: Path, client: MlflowClient, name: str) -> None:
        self.file = ledger_file(root, name)
        self._root, self._client, self._name = root, client, name
        self._shown_file = str(self.file.relative_to(root.resolve()))

    def read(self) -> LedgerContent:
        """See `registry.recorded.LedgerStore.read`."""
        tags, in_file = self._tags(), self._read_file()
        if HEAD_TAG not in tags:  # a new store: `settle` copies the entries of the file into it
            return LedgerContent(in_file, len(in_file))
        applied = int(tags.get(APPLIED_TAG, 0))
        if _head_of(in_file) == tags[HEAD_TAG]:
            return LedgerContent(in_file, applied)
        entries = self._read_artifacts()
        if in_file != entries[: len(in_file)]:
            number = 1 + sum(ours == theirs for ours, theirs in zip(in_file, entries, strict=False))
            raise LedgerError(
                f"{self._shown_file}: entry {number} is not the one in MLflow, whose last entry is "
                f"{len(entries)}: one of them was tampered with, or they are of two registries.\n{RESTORE}"
            )
        return LedgerContent(entries, applied)

    def settle(self, entries: Sequence[Entry]) -> list[str]:
        """See `registry.recorded.LedgerStore.settle`."""
        if not entries:
            return []
        notices: list[str] = []
        names = {Path(file.path).name for file in self._client.list_artifacts(self._run(), ENTRIES)}
        missing = [entry for entry in entries if _file_name(entry) not in names]
        for entry in missing:
            self._keep(entry)
        if missing:
            numbers = ", ".join(str(entry.number) for entry in missing)
            notices.append(f"MLflow lacked entries {numbers}: restored from {self._shown_file}.")
        if HEAD_TAG not in self._tags():
            self.mark_applied(len(entries))
            self._set_tag(HEAD_TAG, _head_of(entries))
        if (n_found := len(self._read_file())) != len(entries):
            self._write_file(entries)
            notices.append(
                f"{self._shown_file} had {n_found} of {len(entries)} entries: restored from MLflow."
            )
        return notices

    def append(self, entry: Entry) -> None:
        """See `registry.recorded.LedgerStore.append`. The entry is valid once the tag `ledger_head` names it."""
        self._require_head(entry.previous_sha256)
        self._keep(entry)
        self._set_tag(HEAD_TAG, _head_of([entry]))
        self._require_head(entry.sha256)
        self._write_file((*self._read_file()[: entry.number - 1], entry))

    def mark_applied(self, number: int) -> None:
        """See `registry.recorded.LedgerStore.mark_applied`."""
        self._set_tag(APPLIED_TAG, str(number))

    def verify(self) -> None:
        """See `registry.recorded.LedgerStore.verify`. Checks the artifacts, unless only the file has the ledger."""
        if HEAD_TAG in self._tags():
            self._read_artifacts()

    def _tags(self) -> dict[str, str]:
        model = store.registered_model(self._client, self._name)
        return {} if model is None else dict(model.tags)

    def _set_tag(self, key: str, value: str) -> None:
        self._client.set_registered_model_tag(self._name, key, value)

    def _require_head(self, sha256: str) -> None:
        """Raise an error if a process on another machine, where the lock has no effect, has written an entry."""
        number, _, found = self._tags().get(HEAD_TAG, f"0 {NOTHING_BEFORE}").partition(" ")
        if found != sha256:
            raise InfrastructureError(
                f"The ledger of {self._name} has moved on to entry {number} meanwhile: another machine "
                "is at work. Run this again."
            )

    def _read_file(self) -> tuple[Entry, ...]:
        if not self.file.exists():
            return ()
        try:
            lines = self.file.read_text(encoding="utf-8").split("\n")
            return read_chain(lines[:-1], self._name, self._shown_file)
        except UnicodeDecodeError as error:
            raise LedgerError(f"{self._shown_file} is not a text in UTF-8.\n{RESTORE}") from error
        except LedgerError as error:
            raise LedgerError(f"{error}\n{RESTORE}") from error

    def _write_file(self, entries: Sequence[Entry]) -> None:
        write_atomic(self.file, "".join(f"{entry.line}\n" for entry in entries), durable=True)

    def _read_artifacts(self) -> tuple[Entry, ...]:
        """Return the entries from the first to the head. Artifacts that interrupted processes left are ignored."""
        where, tags = f"MLflow's ledger of {self._name}", self._tags()
        last, _, sha256 = tags[HEAD_TAG].partition(" ")
        if RUN_TAG not in tags or not last.isdigit():
            raise LedgerError(
                f"{where}: its tag {HEAD_TAG!r} or {RUN_TAG!r} was edited or removed."
            )
        lines: list[str] = []
        with TemporaryDirectory() as scratch:
            folder = Path(self._client.download_artifacts(tags[RUN_TAG], ENTRIES, scratch))
            for number in range(int(last), 0, -1):
                path = folder / f"{number:06d}-{sha256}.json"
                if not path.exists():
                    raise LedgerError(f"{where}: entry {number} ({sha256[:12]}) was removed.")
                lines.insert(0, path.read_text(encoding="utf-8").rstrip("\n"))
                sha256 = read_entry(lines[0], number, where).previous_sha256
        entries = read_chain(lines, self._name, where)
        if _head_of(entries) != tags[HEAD_TAG]:
            raise LedgerError(f"{where}: entry {last} is not the one that {HEAD_TAG!r} names.")
        return entries

    def _keep(self, entry: Entry) -> None:
        run_id, path = self._run(), f"{ENTRIES}/{_file_name(entry)}"
        self._client.log_text(run_id, f"{entry.line}\n", path)
        _onto_disk(str(self._client.get_run(run_id).info.artifact_uri), path)

    def _run(self) -> str:
        """Return the id of the run that stores the entries. A missing run is created."""
        if run_id := self._tags().get(RUN_TAG):
            return run_id
        experiment = store.experiment_id(self._client, self._root, EXPERIMENT)
        run = self._client.create_run(experiment, run_name=f"ledger of {self._name}")
        self._client.set_terminated(run.info.run_id)
        self._set_tag(RUN_TAG, str(run.info.run_id))
        return str(run.info.run_id)


@contextmanager
def recorded(
    root: Path, client: MlflowClient, name: str, *, dry_run: bool = False
) -> Iterator[RecordedRegistry]:
    """Open a model's registry and ledger under a lock, for exclusive use. A dry run takes no lock.

    Raises:
        InfrastructureError: Another process on this machine holds the lock for too long.
    """
    registry, ledger = MlflowRegistry(client, name), MlflowLedger(root, client, name)
    with nullcontext() if dry_run else _store_lock(root):
        yield RecordedRegistry(registry, ledger, who=actor())


def _store_lock(root: Path) -> AbstractContextManager[None]:
    """Return the lock of a tracking store on this machine.

    The lock does not exclude other machines that use the same server. `MlflowLedger.append` detects these.
    """
    uri = store.tracking_uri(root)
    path = Path(f"{uri.removeprefix(store.SQLITE)}.ledger.lock")
    if not uri.startswith(store.SQLITE):
        key = hashlib.sha256(uri.encode()).hexdigest()[:16]
        path = Path(gettempdir()) / f"polydistill-{os.getuid()}" / f"{key}.ledger.lock"
    what = f"The registry in {store.shown(uri, root)}"
    advice = "Wait for it or stop it, then run this again."
    return held(path, actor(), what, wait_s=LOCK_TIMEOUT_S, advice=advice)


def actor() -> str:
    """Return the author of ledger entries.

    This is `POLYDISTILL_ACTOR` if it is set, else the user who started the CI job, else the operating system's user.
    """
    for variable in (ACTOR_VARIABLE, *CI_VARIABLES):
        name = os.environ.get(variable, "").strip()
        if name:
            return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid-{os.getuid()}"


def ledger_file(root: Path, name: str) -> Path:
    """Return the path of the copy of the ledger."""
    return store.folder(root) / "exports" / f"{name}.ledger.jsonl"


def _head_of(entries: Sequence[Entry]) -> str:
    """Return the value of the tag `ledger_head`."""
    return f"{entries[-1].number} {entries[-1].sha256}" if entries else ""


def _file_name(entry: Entry) -> str:
    return f"{entry.number:06d}-{entry.sha256}.json"


def _onto_disk(artifact_uri: str, path: str) -> None:
    """Flush a file of a local artifact store to the disk, so that it survives a power failure."""
    if folder := store.local_path(artifact_uri):
        with (folder / path).open("rb") as stream:
            os.fsync(stream.fileno())
