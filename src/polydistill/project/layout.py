"""The paths of all files in a project folder."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


def modality_of(root: Path, folder: Path, known: Sequence[str]) -> str | None:
    """Return the modality of the student in a folder, of the project's modalities `known`; None if unknown.

    Examples:
        >>> modality_of(Path("a"), Path("a/artifacts/text/student"), ["text", "vision"])
        'text'
        >>> modality_of(Path("a"), Path("b"), ["text"])
        'text'
        >>> modality_of(Path("a"), Path("b"), ["text", "vision"]) is None
        True
    """
    for name in known:
        homes = (root / place / name for place in ("artifacts", "adopted"))
        if len(known) == 1 or any(folder.resolve().is_relative_to(one.resolve()) for one in homes):
            return name
    return None


@dataclass(frozen=True)
class Layout:
    """The files of one modality in the project folder `root`."""

    root: Path
    modality: str

    @property
    def artifacts(self) -> Path:
        """What stages pass to one another; DVC's, ignored by git."""
        return self.root / "artifacts" / self.modality

    @property
    def reports(self) -> Path:
        """What a person reads."""
        return self.root / "reports" / self.modality

    @property
    def local(self) -> Path:
        """Third-party tasks, fetched here and never passed on."""
        return self.artifacts / "local"

    @property
    def local_status(self) -> Path:
        """Which third-party tasks are there, and why the others are not."""
        return self.local / "status.json"

    def embeddings(self, part: str, teacher: str) -> Path:
        """A teacher's embeddings; `part` is `corpus` or `benchmark`."""
        return self.artifacts / "embeddings" / part / teacher

    def corpus_embeddings(self, teachers: Iterable[str]) -> dict[str, Path]:
        """Each teacher's embeddings of the corpus."""
        return {teacher: self.embeddings("corpus", teacher) for teacher in teachers}

    def embedding_work(self, part: str, teacher: str) -> Path:
        """Unfinished work of the same, and where the embeddings go when the teacher is disabled."""
        return self.work("embed", f"{self.modality}-{teacher}-{part}")

    def disabled_embeddings(self, part: str, active: Container[str]) -> list[tuple[Path, Path]]:
        """Return the embeddings here of teachers that are not active, each with where they should go."""
        folders = sorted((self.artifacts / "embeddings" / part).glob("*"))
        return [
            (folder, self.embedding_work(part, folder.name))
            for folder in folders
            if folder.is_dir() and folder.name not in active and not folder.name.startswith(".")
        ]

    @property
    def student(self) -> Path:
        """The distilled student's bundle."""
        return self.artifacts / "student"

    @property
    def undistilled(self) -> Path:
        """The student as it was before its first step."""
        return self.artifacts / "undistilled"

    @property
    def heads(self) -> Path:
        """The heads, stored beside the student."""
        return self.artifacts / "heads"

    @property
    def history(self) -> Path:
        """Step, teacher, split, nats."""
        return self.artifacts / "history.parquet"

    @property
    def mteb(self) -> Path:
        """Mteb's results, `<model>/<task>.json`."""
        return self.artifacts / "mteb"

    @property
    def predictions(self) -> Path:
        """Task, example, seed, model, prediction, target, score."""
        return self.artifacts / "predictions.parquet"

    def warm_start(self, sha256: str) -> Path:
        """An earlier version from which a run starts: `student` and `heads`, named after its content."""
        return self.root / "adopted" / self.modality / sha256[:16]

    @property
    def validation(self) -> Path:
        """The results of the expectations about the data."""
        return self.reports / "validation.json"

    @property
    def data_docs(self) -> Path:
        """The same, as pages for a browser."""
        return self.reports / "data_docs"

    @property
    def distillation(self) -> Path:
        """The distill stage's metrics."""
        return self.reports / "distill.json"

    @property
    def scores(self) -> Path:
        """Model, task type, task: main score."""
        return self.reports / "scores.json"

    @property
    def page(self) -> Path:
        """The report."""
        return self.reports / "index.html"

    @property
    def verdict(self) -> Path:
        """The last verdict of the gate; local to this machine, not an output of DVC."""
        return self.scratch / "gate" / f"{self.modality}.json"

    @property
    def results(self) -> Path:
        """Comparisons and estimates that are committed for people to read."""
        return self.root / "docs" / "results" / self.modality

    @property
    def drift(self) -> Path:
        """How the incoming corpus compares with the champion's; local to this machine, not an output of DVC."""
        return self.reports / "drift.json"

    @property
    def drift_docs(self) -> Path:
        """The columns' expectations, as pages for a browser."""
        return self.reports / "drift_docs"

    @property
    def watched(self) -> Path:
        """The version of the data that `flows.watch` has reported last."""
        return self.scratch / "watch" / f"{self.modality}.json"

    @property
    def run_lock(self) -> Path:
        """Held by the run that works in this folder."""
        return self.scratch / "run.lock"

    @property
    def scratch(self) -> Path:
        """Times, run ids and unfinished work: nothing that a rerun needs."""
        return self.root / ".polydistill"

    @property
    def downloads(self) -> Path:
        """Pinned files of registries, downloaded again when they are missing."""
        return self.scratch / "downloads"

    def work(self, stage: str, key: str) -> Path:
        """Unfinished work of a stage, removed on success."""
        return self.scratch / "work" / stage / key
