"""Exports the student together with a map that improves cosine similarities, or as ONNX.

This is not a DVC stage: it reads the outputs of the stages.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polydistill.config.environment import use_threads
from polydistill.config.nodes import Plugin
from polydistill.config.params import Params
from polydistill.contracts import FloatArray
from polydistill.data.corpora import open_corpus
from polydistill.data.modalities import MODALITIES
from polydistill.errors import DataError, ParamsError, UnknownNameError
from polydistill.export.bundle import Export, heads_for, load_export, save_export
from polydistill.export.kinds import EXPORTS
from polydistill.export.onnx import CHECKED, OnnxReport, save_onnx
from polydistill.project.files import put_in_place, write_atomic
from polydistill.project.layout import Layout
from polydistill.report import card
from polydistill.students import encode, load_student, weights_digest
from polydistill.training.dataset import held_out_mask, seeded

ONNX = "onnx"
ROWS = 20_000
"""Maximum number of rows for fitting an export; enough for a covariance of a few hundred dimensions."""


@dataclass(frozen=True)
class ExportReport:
    """The result of `export_student`.

    Attributes:
        export: Name of the export.
        dim: Width of its embeddings.
        rows: Number of rows that it was fitted to.
        student_sha256: The sha256 of the student's weights.
        folder: The folder of the export.
    """

    export: str
    dim: int
    rows: int
    student_sha256: str
    folder: str


def export_student(
    root: Path, params: Params, modality: str, plugin: Plugin, folder: Path
) -> ExportReport | OnnxReport:
    """Fit an export to the student's embeddings of its training rows and write it with the student; or write ONNX files.

    If there is a report of the student, the folder also gets its model card, `README.md`.

    Args:
        root: The project folder.
        params: Parameters of the run that trained the student.
        modality: The student's modality.
        plugin: Name and options of the export; `onnx` has the option `int8`.
        folder: The folder to write; an existing export in it is replaced.

    Raises:
        UnknownNameError: The export or one of its options is unknown.
        DataError: `folder` holds something other than an export, or there are no training rows.
        PolydistillError: See `export.bundle`.
    """
    if plugin.name == ONNX:
        return _export_onnx(root, params, modality, plugin.options, folder)
    if plugin.name not in EXPORTS.names():
        raise UnknownNameError("export", plugin.name, [*EXPORTS.names(), ONNX])
    EXPORTS.check(plugin.name, plugin.options)
    if folder.exists() and not (folder / "export.json").exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no export: give another --output.")
    layout = Layout(root, modality)
    embeddings = trained_embeddings(root, params, modality)
    export = fit_export(layout, plugin, embeddings)
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    save_export(beside, plugin, export, layout.student, layout.heads)
    _write_card(layout, plugin.name, beside)
    put_in_place(beside, folder)
    made = load_export(folder)
    return ExportReport(
        plugin.name, made.dim, len(embeddings), made.card.student_sha256, str(folder)
    )


def fit_export(layout: Layout, plugin: Plugin, embeddings: FloatArray) -> Export:
    """Fit an export to the student's embeddings, `(n, dim)`; the heads are read only if the export needs them."""
    entry = EXPORTS.get(plugin.name)
    heads = heads_for(entry, layout.heads, layout.student)
    export: Export = entry.build(embeddings, **heads, **plugin.options)
    return export


def trained_embeddings(root: Path, params: Params, modality: str) -> FloatArray:
    """Return the student's embeddings of at most `ROWS` of its training rows."""
    layout, block = Layout(root, modality), params.modality(modality)
    use_threads(params.threads)
    kind = MODALITIES.get(modality)()
    student = load_student(layout.student)
    corpus = open_corpus(layout.corpus, block.corpus, kind)
    held_out = held_out_mask(corpus.groups, block.corpus.held_out)
    trained = np.flatnonzero(~held_out)
    chosen = np.sort(seeded(params.seed, "rows of exports").permutation(trained)[:ROWS])
    return encode(student, [corpus.examples[row] for row in chosen.tolist()])


def _export_onnx(
    root: Path, params: Params, modality: str, options: Mapping[str, object], folder: Path
) -> OnnxReport:
    """Write the student as ONNX; held-out rows of the corpus are embedded by both. See `export.onnx.save_onnx`."""
    int8 = options.get("int8", False)
    if set(options) - {"int8"} or not isinstance(int8, bool):
        raise ParamsError(
            f"The export onnx has one option, int8=true or int8=false, got {dict(options)}."
        )
    layout, block = Layout(root, modality), params.modality(modality)
    use_threads(params.threads)
    student = load_student(layout.student)
    corpus = open_corpus(layout.corpus, block.corpus, MODALITIES.get(modality)())
    rows = np.flatnonzero(held_out_mask(corpus.groups, block.corpus.held_out))[:CHECKED]
    examples = [corpus.examples[row] for row in rows.tolist()]
    report = save_onnx(student, folder, examples, int8=int8)
    _write_card(layout, ONNX, folder)
    return report


def _write_card(layout: Layout, export: str, folder: Path) -> None:
    """Write the model card, if there is a report of this student. It is not among the hashed files of the export."""
    facts = card.facts_of(layout, weights_digest(layout.student))
    if facts is not None:
        write_atomic(folder / card.FILE, card.render_card(facts, export=export))
