"""The ledger of a registered model in MLflow, and its copy as JSON lines for people and git.

Three places hold it. The registered model's tag `ledger_head` has the number and sha256 of the last entry
and is set in one transaction: it decides what is in the ledger. The entries lie in a run of their own,
an artifact each, so that nothing that is kept is ever written again: a run, as a ledger outlives every
version; of its own, as versions and their runs may be deleted. `mlruns/exports/<model>.ledger.jsonl`
is a copy, which is written again from MLflow where a workspace was deleted.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, NamedTuple

from polydistill.errors import InfrastructureError, LedgerError
from polydistill.integrations.actor import actor
from polydistill.integrations.mlflow.registry import MlflowRegistry
from polydistill.integrations.mlflow.store import (
    SQLITE,
    experiment_id,
    folder,
    registered_model,
    shown,
    tracking_uri,
)
from polydistill.project.files import write_atomic
from polydistill.project.lock import held
from polydistill.registry.ledger import NOTHING_BEFORE, Entry, read_chain
from polydistill.registry.recorded import LedgerContent, RecordedRegistry

if TYPE_CHECKING:
    from mlflow import MlflowClient

HEAD_TAG, APPLIED_TAG, RUN_TAG = "ledger_head", "ledger_applied", "ledger_run"
EXPERIMENT = "ledger"
ENTRIES = "entries"
LOCK_TIMEOUT_S = 600.0  # the gate may load two models meanwhile, and wait for its smoke test
RESTORE = "If MLflow is right, move the file away, and `polydistill history` writes it again."
ENTRY_FILE = re.compile(r"(\d{6})-([0-9a-f]{64})\.json")


class Head(NamedTuple):
    """The last entry, as the registry's tag names it."""

    number: int
    sha256: str


class MlflowLedger:
    """See `registry.recorded.LedgerStore`.

    Args:
        root: The project folder.
        client: MLflow's, connected.
        name: The registered model's.
    """

    def __init__(self, root: Path, client: MlflowClient, name: str) -> None:
        self.file = ledger_file(root, name)
        self._root, self._client, self._name = root, client, name

    def read(self) -> LedgerContent:
        """See `registry.recorded.LedgerStore.read`."""
        head, in_file = self._head(), self._read_file()
        if head is None:  # a new store: the file, if there is one, is taken over by `settle`
            return LedgerContent(in_file, len(in_file))
        applied = int(self._tags().get(APPLIED_TAG, 0))
        if _reaches(in_file, head):
            return LedgerContent(in_file, applied)
        entries = self._read_artifacts(head)
        self._require_beginning(in_file, entries)
        return LedgerContent(entries, applied)

    def settle(self, content: LedgerContent) -> list[str]:
        """See `registry.recorded.LedgerStore.settle`: the file, and the artifacts, where entries miss."""
        notices = []
        if content.entries and self._head() is None:
            notices.append(
                f"The registry of {self._name} had no ledger: it continues with the {len(content.entries)} "
                f"entries of {self._shown_file}."
            )
        kept = self._kept()
        missing = [entry for entry in content.entries if _file_name(entry) not in kept]
        for entry in missing:
            self._keep(entry)
        if missing and not notices:
            numbers = ", ".join(str(entry.number) for entry in missing)
            notices.append(f"Entries that MLflow lacked are restored from the file: {numbers}.")
        if content.entries and self._head() is None:
            self.mark_applied(content.applied)
            self._set_tag(HEAD_TAG, _tag_of(content.entries[-1]))
        found = self._read_file()
        if found != content.entries:
            self._write_file(content.entries)
            notices.append(
                f"{self._shown_file} had {len(found)} of {len(content.entries)} entries: it is brought "
                "up to date from MLflow."
            )
        return notices

    def append(self, entry: Entry) -> None:
        """See `registry.recorded.LedgerStore.append`: it counts from the moment that the tag names it."""
        self._require_head(entry.previous_sha256)
        self._keep(entry)
        self._set_tag(HEAD_TAG, _tag_of(entry))
        self._require_head(entry.sha256)
        self._write_file((*self._read_file()[: entry.number - 1], entry))

    def mark_applied(self, number: int) -> None:
        """See `registry.recorded.LedgerStore.mark_applied`."""
        self._set_tag(APPLIED_TAG, str(number))

    def verify(self) -> None:
        """See `registry.recorded.LedgerStore.verify`: the artifacts, which `read` skips if the file will do."""
        head = self._head()
        if head is not None:
            self._read_artifacts(head)

    @property
    def _shown_file(self) -> str:
        return str(self.file.relative_to(self._root.resolve()))

    def _require_head(self, sha256: str) -> None:
        """See that no process of another machine, which our lock does not hold, has been here."""
        head = self._head()
        if (head.sha256 if head else NOTHING_BEFORE) != sha256:
            raise InfrastructureError(
                f"The ledger of {self._name} has moved on to entry {head.number if head else 'none'} "
                "meanwhile: another machine is at work. Run this again."
            )

    def _tags(self) -> dict[str, str]:
        model = registered_model(self._client, self._name)
        return {} if model is None else dict(model.tags)

    def _head(self) -> Head | None:
        text = self._tags().get(HEAD_TAG)
        if text is None:
            return None
        number, _, sha256 = text.partition(" ")
        if not number.isdigit() or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise LedgerError(
                f"The tag {HEAD_TAG!r} of {self._name} must be a number and a sha256, got {text!r}: it was "
                f"edited. The last line of {self._shown_file} has what it should be."
            )
        return Head(int(number), sha256)

    def _read_file(self) -> tuple[Entry, ...]:
        if not self.file.exists():
            return ()
        lines = self.file.read_text(encoding="utf-8").split("\n")
        try:
            return read_chain(lines[:-1], self._name, self._shown_file)
        except LedgerError as error:
            if self._tags().get(HEAD_TAG) is None:
                raise
            raise LedgerError(f"{error}\n{RESTORE}") from error

    def _write_file(self, entries: Sequence[Entry]) -> None:
        write_atomic(self.file, "".join(f"{entry.line}\n" for entry in entries), durable=True)

    def _require_beginning(self, in_file: Sequence[Entry], entries: Sequence[Entry]) -> None:
        """Refuse a file whose entries are not the beginning of MLflow's."""
        for ours, theirs in zip(in_file, entries, strict=False):
            if ours != theirs:
                raise LedgerError(
                    f"{self._shown_file}: entry {ours.number} is {ours.sha256[:12]}, MLflow has "
                    f"{theirs.sha256[:12]}: it was tampered with, or is of another registry.\n{RESTORE}"
                )
        if len(in_file) > len(entries):
            raise LedgerError(
                f"{self._shown_file}: entry {len(entries) + 1} was added to the file, or removed from "
                f"MLflow, whose last entry is {len(entries)}.\n{RESTORE}"
            )

    def _read_artifacts(self, head: Head) -> tuple[Entry, ...]:
        """Return the entries that the head leads to; what a crash has left beside them does not count."""
        where, run_id = f"MLflow's ledger of {self._name}", self._tags().get(RUN_TAG)
        if run_id is None:
            raise LedgerError(f"{where}: the tag {RUN_TAG!r} of {self._name} was removed.")
        with TemporaryDirectory() as scratch:
            target = Path(self._client.download_artifacts(run_id, ENTRIES, scratch))
            lines, sha256 = list[str](), head.sha256
            for number in range(head.number, 0, -1):
                path = target / f"{number:06d}-{sha256}.json"
                if not path.exists():
                    raise LedgerError(f"{where}: entry {number} ({sha256[:12]}) was removed.")
                lines.append(path.read_text(encoding="utf-8").rstrip("\n"))
                found = re.search(r'"previous_sha256":"([0-9a-f]{64})"', lines[-1])
                if found is None:
                    raise LedgerError(
                        f"{where}: entry {number} is damaged: it names none before it."
                    )
                sha256 = found[1]
        entries = read_chain(lines[::-1], self._name, where)
        if not _reaches(entries, head):
            raise LedgerError(f"{where}: entry {head.number} is not {head.sha256[:12]}.")
        return entries

    def _kept(self) -> set[str]:
        run_id = self._tags().get(RUN_TAG)
        if run_id is None:
            return set()
        paths = (Path(file.path).name for file in self._client.list_artifacts(run_id, ENTRIES))
        return {name for name in paths if ENTRY_FILE.fullmatch(name)}

    def _keep(self, entry: Entry) -> None:
        run_id = self._run()
        path = f"{ENTRIES}/{_file_name(entry)}"
        self._client.log_text(run_id, f"{entry.line}\n", path)
        _onto_disk(str(self._client.get_run(run_id).info.artifact_uri), path)

    def _run(self) -> str:
        """Return the run that holds the entries, made if need be."""
        run_id = self._tags().get(RUN_TAG)
        if run_id is not None:
            return run_id
        experiment = experiment_id(self._client, self._root, EXPERIMENT)
        run = self._client.create_run(experiment, run_name=f"ledger of {self._name}")
        self._client.set_terminated(run.info.run_id)
        self._set_tag(RUN_TAG, str(run.info.run_id))
        return str(run.info.run_id)

    def _set_tag(self, key: str, value: str) -> None:
        self._client.set_registered_model_tag(self._name, key, value)


@contextmanager
def recorded(
    root: Path, client: MlflowClient, name: str, *, dry_run: bool = False
) -> Iterator[RecordedRegistry]:
    """Give one model's registry with its ledger, to this process alone; a dry run needs no lock.

    Raises:
        InfrastructureError: Another process of this machine has it for too long.
    """
    registry, ledger = MlflowRegistry(client, name), MlflowLedger(root, client, name)
    with nullcontext() if dry_run else _store_lock(root):
        yield RecordedRegistry(registry, ledger, who=actor())


def _store_lock(root: Path) -> AbstractContextManager[None]:
    """Return the lock that a tracking store has on this machine.

    Processes of other machines that share a server do not see it: `MlflowLedger.append` detects them.
    """
    uri = tracking_uri(root)
    if uri.startswith(SQLITE):
        path = Path(f"{uri.removeprefix(SQLITE)}.ledger.lock")
    else:
        key = hashlib.sha256(uri.encode()).hexdigest()[:16]
        path = Path(gettempdir()) / f"polydistill-{os.getuid()}" / f"{key}.ledger.lock"
    what, advice = (
        f"The registry in {shown(uri, root)}",
        "Wait for it or stop it, then run this again.",
    )
    return held(path, actor(), what, wait_s=LOCK_TIMEOUT_S, advice=advice)


def ledger_file(root: Path, name: str) -> Path:
    """Return the path of the ledger's copy."""
    return folder(root) / "exports" / f"{name}.ledger.jsonl"


def _tag_of(entry: Entry) -> str:
    return f"{entry.number} {entry.sha256}"


def _reaches(entries: Sequence[Entry], head: Head) -> bool:
    return bool(entries) and (entries[-1].number, entries[-1].sha256) == head


def _file_name(entry: Entry) -> str:
    return f"{entry.number:06d}-{entry.sha256}.json"


def _onto_disk(artifact_uri: str, path: str) -> None:
    """Let a file of a local artifact store survive a power cut; a server sees to its own."""
    if not artifact_uri.startswith(("/", "file:")):  # `mlflow-artifacts:/…`, `s3://…`
        return
    from mlflow.utils.file_utils import local_file_uri_to_path

    with (Path(local_file_uri_to_path(artifact_uri)) / path).open("rb") as stream:
        os.fsync(stream.fileno())
