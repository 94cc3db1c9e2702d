"""The paths of all files in a project folder."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


def modality_of(root: Path, folder: Path, known: Sequence[str]) -> str | None:
    """Return the modality of the student in `folder`, one of the project's modalities `known`; None if unclear.

    Examples:
        >>> modality_of(Path("a"), Path("a/artifacts/text/student"), ["text", "vision"])
        'text'
        >>> modality_of(Path("a"), Path("b"), ["text"])
        'text'
        >>> modality_of(Path("a"), Path("b"), ["text", "vision"]) is None
        True
    """
    for name in known:
        parents = (root / parent / name for parent in ("artifacts", "adopted"))
        if len(known) == 1 or any(
            folder.resolve().is_relative_to(one.resolve()) for one in parents
        ):
            return name
    return None


@dataclass(frozen=True)
class Layout:
    """The paths of one modality's files in the project folder `root`."""

    root: Path
    modality: str

    @property
    def artifacts(self) -> Path:
        """Files that stages pass to one another; tracked by DVC, ignored by git."""
        return self.root / "artifacts" / self.modality

    @property
    def reports(self) -> Path:
        """Files for people to read."""
        return self.root / "reports" / self.modality

    @property
    def local(self) -> Path:
        """Third-party tasks, which are fetched on each machine and not redistributed."""
        return self.artifacts / "local"

    @property
    def local_status(self) -> Path:
        """The list of fetched third-party tasks, and the reasons why others are missing."""
        return self.local / "status.json"

    def embeddings(self, part: str, teacher: str) -> Path:
        """Return the folder of a teacher's embeddings; `part` is `corpus` or `benchmark`."""
        return self.artifacts / "embeddings" / part / teacher

    def corpus_embeddings(self, teachers: Iterable[str]) -> dict[str, Path]:
        """Return the folder of each teacher's embeddings of the corpus."""
        return {teacher: self.embeddings("corpus", teacher) for teacher in teachers}

    def embedding_work(self, part: str, teacher: str) -> Path:
        """Return the folder of unfinished embeddings; the embeddings of a disabled teacher are moved there too."""
        return self.work("embed", f"{self.modality}-{teacher}-{part}")

    def disabled_embeddings(self, part: str, active: Container[str]) -> list[tuple[Path, Path]]:
        """Return the embedding folders of teachers that are not active, each with its new path."""
        folders = sorted((self.artifacts / "embeddings" / part).glob("*"))
        return [
            (folder, self.embedding_work(part, folder.name))
            for folder in folders
            if folder.is_dir() and folder.name not in active and not folder.name.startswith(".")
        ]

    @property
    def student(self) -> Path:
        """The bundle of the distilled student."""
        return self.artifacts / "student"

    @property
    def undistilled(self) -> Path:
        """The bundle of the untrained student."""
        return self.artifacts / "undistilled"

    @property
    def heads(self) -> Path:
        """The bundle of the student's heads."""
        return self.artifacts / "heads"

    @property
    def history(self) -> Path:
        """A table of training and held-out losses: step, teacher, split, nats."""
        return self.artifacts / "history.parquet"

    @property
    def mteb(self) -> Path:
        """The results of mteb: `<model>/<task>.json`."""
        return self.artifacts / "mteb"

    @property
    def predictions(self) -> Path:
        """A table of predictions: task, example, seed, model, prediction, target, score."""
        return self.artifacts / "predictions.parquet"

    def warm_start(self, sha256: str) -> Path:
        """Return the folder of an imported version with `student` and `heads`; its name is the start of `sha256`."""
        return self.root / "adopted" / self.modality / sha256[:16]

    @property
    def validation(self) -> Path:
        """The results of the expectations about the data."""
        return self.reports / "validation.json"

    @property
    def data_docs(self) -> Path:
        """The results of the expectations as HTML pages."""
        return self.reports / "data_docs"

    @property
    def distillation(self) -> Path:
        """The metrics of the distill stage."""
        return self.reports / "distill.json"

    @property
    def scores(self) -> Path:
        """The main scores by model, type of task, and task."""
        return self.reports / "scores.json"

    @property
    def page(self) -> Path:
        """The report page."""
        return self.reports / "index.html"

    @property
    def verdict(self) -> Path:
        """The last verdict of the gate; local to this machine, not an output of DVC."""
        return self.scratch / "gate" / f"{self.modality}.json"

    @property
    def results(self) -> Path:
        """Committed comparisons and estimates, for people to read."""
        return self.root / "docs" / "results" / self.modality

    @property
    def drift(self) -> Path:
        """The drift of the incoming corpus from the champion's; local to this machine, not an output of DVC."""
        return self.reports / "drift.json"

    @property
    def drift_docs(self) -> Path:
        """The expectations about the columns in the drift test, as HTML pages."""
        return self.reports / "drift_docs"

    @property
    def watched(self) -> Path:
        """The version of the data that `flows.watch` reported last."""
        return self.scratch / "watch" / f"{self.modality}.json"

    @property
    def run_lock(self) -> Path:
        """The project lock, held by the current run."""
        return self.scratch / "run.lock"

    @property
    def scratch(self) -> Path:
        """Times, run ids and unfinished work; no rerun needs them."""
        return self.root / ".polydistill"

    @property
    def downloads(self) -> Path:
        """Downloaded files of package registries; missing files are downloaded again."""
        return self.scratch / "downloads"

    def work(self, stage: str, key: str) -> Path:
        """Return the folder of a stage's unfinished work, which is removed on success."""
        return self.scratch / "work" / stage / key
