"""Commands that use a student: embed, export, predict a teacher, start a run from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from polydistill.cli.console import plain, show
from polydistill.cli.options import ROOT, AsJson, Examples, Modality, Version, project_params

commands = typer.Typer()


@commands.command(
    epilog="Example: polydistill encode models:/student-text@champion texts.txt -o out.npy"
)
def encode(
    model: Annotated[
        str, typer.Argument(help="A registered model, or the folder of a student or an export.")
    ],
    examples: Examples,
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the (n, dim) array.")],
    *,
    modality: Annotated[
        str | None, typer.Option(help="Modality of the examples, if the folder does not name it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed the lines of a file with a student."""
    import numpy as np

    from polydistill.config.params import PARAMS_FILE
    from polydistill.data.files import read_lines
    from polydistill.data.modalities import MODALITIES
    from polydistill.data.tables import read_examples
    from polydistill.errors import ParamsError
    from polydistill.integrations.mlflow.bundle import REGISTRY_SCHEMES, load_model
    from polydistill.project.files import require_writable
    from polydistill.project.layout import modality_of

    if output.suffix != ".npy":
        raise ParamsError(f"--output must end in .npy, got {str(output)!r}.")
    require_writable(output)
    if model.startswith(REGISTRY_SCHEMES):  # a registered model contains its modality
        embeddings = load_model(ROOT, model)(read_lines(examples))
    else:
        listed = project_params().modalities if (ROOT / PARAMS_FILE).exists() else ()
        name = modality or modality_of(ROOT, Path(model), listed)
        if name is None:
            raise ParamsError(f"--modality must name the modality of {examples} for {model}.")
        inputs = read_examples(examples, MODALITIES.get(name)())
        embeddings = load_model(ROOT, model)(inputs)
    np.save(output, embeddings, allow_pickle=False)
    rows, dim = embeddings.shape
    show({"rows": rows, "dim": dim, "file": str(output)}, as_json=as_json)


@commands.command(epilog="Example: polydistill export text --as whitened -o folder")
def export(
    modality: Modality,
    name: Annotated[
        str, typer.Option("--as", help="plain, whitened, predicted-consensus or onnx.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    *,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the export: shrinkage=0.5; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the student to a folder: plain, whitened or as ONNX."""
    import yaml

    from polydistill.config.nodes import Plugin
    from polydistill.errors import ParamsError
    from polydistill.stages.exports import export_student

    options = {}
    for one in option or []:
        key, equals, value = one.partition("=")
        if not (key and equals and value):
            raise ParamsError(f"--option must be name=value, as in shrinkage=0.5, got {one!r}.")
        options[key] = yaml.safe_load(value)
    plugin = Plugin.model_validate({**options, "name": name})
    show(export_student(ROOT, project_params(), modality, plugin, output), as_json=as_json)


@commands.command(
    "predict-teacher",
    epilog="Example: polydistill predict-teacher text minilm-l6 texts.txt -o out.npz",
)
def predict_teacher(
    modality: Modality,
    teacher: Annotated[str, typer.Argument(help="A teacher that the student was distilled from.")],
    examples: Examples,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="An .npz file for mean, std and novelty.")
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="A registered model, or a folder with student/ and heads/ [artifacts/<modality>]."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict a teacher's embeddings, with a calibrated std."""
    from polydistill.data.modalities import MODALITIES
    from polydistill.data.tables import read_examples
    from polydistill.export.predicted_embeddings import predict_teacher as run_prediction
    from polydistill.project.files import require_writable
    from polydistill.project.layout import Layout

    project_params(modality=modality)  # raises for an unknown modality
    require_writable(output)
    rows = read_examples(examples, MODALITIES.get(modality)())
    with version_folder(model or str(Layout(ROOT, modality).artifacts)) as folder:
        report = run_prediction(folder, teacher, rows, output)
    show(report, as_json=as_json)


@commands.command(
    "warm-start", epilog="Example: polydistill warm-start text models:/student-text@champion"
)
def warm_start(modality: Modality, version: Version, *, as_json: AsJson = False) -> None:
    """Copy an earlier student into the project for a warm start."""
    from polydistill.integrations.dvc import stages as dvc
    from polydistill.stages.import_version import import_version

    project_params(modality=modality)  # raises for an unknown modality
    with version_folder(version) as folder:
        imported = import_version(ROOT, modality, folder)
    pointer = dvc.add(ROOT, imported.folder) if (ROOT / ".dvc").is_dir() else None
    show({**plain(imported), "pointer": pointer and str(pointer)}, as_json=as_json)


@contextmanager
def version_folder(version: str) -> Iterator[Path]:
    """Yield the folder with `student` and `heads`; a registered version is downloaded to a temporary folder.

    Raises:
        PolydistillError: See `integrations.mlflow.bundle.version_folder`.
    """
    from polydistill.integrations.mlflow import bundle

    if not version.startswith(bundle.REGISTRY_SCHEMES):
        yield Path(version)
        return
    with TemporaryDirectory(prefix="polydistill-") as scratch:
        yield bundle.version_folder(ROOT, version, Path(scratch))
