"""The paths of all files in a project folder."""

from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from polydistill.project.checksums import Checksums


def modality_of(root: Path, folder: Path, known: Sequence[str]) -> str | None:
    """Return the modality of the student in `folder`, or None if unclear; `known` are the project's modalities.

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


class Layout:
    """The paths of one modality's files in the project folder `root`."""

    def __init__(self, root: Path, modality: str) -> None:
        self.root, self.modality = root, modality

        # Files that stages pass to one another; tracked by DVC, ignored by git.
        self.artifacts = root / "artifacts" / modality
        self.corpus = self.artifacts / "corpus"  # the canonical corpus
        self.student = self.artifacts / "student"  # the bundle of the distilled student
        self.undistilled = self.artifacts / "undistilled"  # the bundle of the untrained student
        self.heads = self.artifacts / "heads"  # the bundle of the student's heads
        self.history = self.artifacts / "history.parquet"  # losses: step, teacher, split, nats
        # Predictions: task, variant, example, seed, model, prediction, target, score.
        self.predictions = self.artifacts / "predictions.parquet"
        self.mteb = self.artifacts / "mteb"  # results for mteb's `ResultCache`
        self.mteb_benchmarks = self.artifacts / "mteb-benchmarks"  # of mteb's own benchmarks
        # Third-party tasks, which are fetched on each machine and not redistributed. `status.json` lists the fetched
        # tasks, and the missing tasks with the reasons.
        self.local = self.artifacts / "local"
        self.local_status = self.local / "status.json"

        # Files for people to read.
        self.reports = root / "reports" / modality
        self.validation = self.reports / "validation.json"  # results of the rules about the data
        self.data_docs = self.reports / "data_docs"  # the same results as HTML pages
        self.distillation = self.reports / "distill.json"  # metrics of the distill stage
        self.scores = self.reports / "scores.json"  # main scores by model, type of task, and task
        self.slices = (
            self.reports / "slices.json"
        )  # scores on perturbed texts by model, task and variant
        self.page = self.reports / "index.html"  # the report page
        self.facts = self.reports / "report.json"  # all facts of the page
        self.digest = self.reports / "report.md"  # the page in at most 40 lines, for a pull request
        self.model_card = self.reports / "card.md"  # the model card: a README.md for the hub
        self.results = root / "docs" / "results" / modality  # committed comparisons and estimates
        # Drift of the incoming corpus from the champion's corpus, and the column rules as HTML pages. These files are
        # local to this machine and not outputs of DVC.
        self.drift = self.reports / "drift.json"
        self.drift_docs = self.reports / "drift_docs"

        # Times, run ids and unfinished work, local to this machine; no rerun needs them.
        self.scratch = root / ".polydistill"
        self.verdict = self.scratch / "gate" / f"{modality}.json"  # the gate's last verdict
        # Files of the version that the gate compared the challenger with: its predictions, metrics and settings.
        self.champion = self.scratch / "gate" / f"{modality}-champion"
        self.judged = (
            self.scratch / "reports" / f"{modality}.json"
        )  # the headline of each reported version
        self.overlap = (
            self.scratch / "reports" / f"{modality}-overlap.json"
        )  # tasks' examples in the corpus
        self.watched = self.scratch / "watch" / f"{modality}.json"  # the last report of flows.watch
        self.run_lock = self.scratch / "run.lock"  # the project lock, held by the current run
        self.downloads = self.scratch / "downloads"  # files of package registries

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
        """Return the embedding folders of teachers that are not active, each with the path to move it to."""
        folders = sorted((self.artifacts / "embeddings" / part).glob("*"))
        return [
            (folder, self.embedding_work(part, folder.name))
            for folder in folders
            if folder.is_dir() and folder.name not in active and not folder.name.startswith(".")
        ]

    def unavailable(self, rival: str) -> Path:
        """Return the file that holds the reason why a rival could not embed the benchmark inputs."""
        return self.embeddings("benchmark", rival) / "unavailable.json"

    def warm_start(self, sha256: str) -> Path:
        """Return the folder of an imported version, with `student` and `heads`; its name is the start of `sha256`."""
        return self.root / "adopted" / self.modality / sha256[:16]

    def checksums(self, name: str, *, verify: bool = False) -> Checksums:
        """Return the known checksums of the corpus (`corpus`) or of embeddings (`<part>-<teacher>`) on this machine."""
        note = self.scratch / "checksums" / f"{self.modality}-{name}.json"
        return Checksums(note, verify=verify)

    def timing(self, teacher: str) -> Path:
        """Return the file with a teacher's embedding speed, on which no stage depends."""
        return self.scratch / "timings" / self.modality / f"{teacher}.json"

    def work(self, stage: str, key: str) -> Path:
        """Return the folder of a stage's unfinished work, which is removed on success."""
        return self.scratch / "work" / stage / key
