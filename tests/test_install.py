"""Fresh environments with both PyTorch builds, and with the wheel alone. They take minutes and gigabytes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).parents[1]
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
PYTORCH_INDEX = "download.pytorch.org"
BUILD_FILES = (
    "LICENSE",
    "Makefile",
    "NOTICE",
    "README.md",
    "pyproject.toml",
    "requirements-cuda.txt",
    "requirements.lock",
    "scripts",
    "src",
    "flows",
    "dvc.yaml",
)
STOCK = {"PIP_CONFIG_FILE": os.devnull}
"""Changes that make `environment` that of a machine without a local wheel folder."""


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables without find-links and without an activated virtual environment."""
    ours = {"PIP_FIND_LINKS", "UV_FIND_LINKS", "PYTHONPATH", "TORCH", "VIRTUAL_ENV", "MAKEFLAGS"}
    return {name: value for name, value in os.environ.items() if name not in ours} | dict(changes)


def run(
    *command: str | Path, folder: Path, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A copy of the files that `make .venv` reads. Its environment is removed afterwards."""
    for name in BUILD_FILES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, tmp_path / name)
    yield tmp_path
    shutil.rmtree(tmp_path / ".venv", ignore_errors=True)


def build(checkout: Path, torch: str, **variables: str) -> subprocess.CompletedProcess[str]:
    python = Path(sys.base_prefix, "bin", "python3")
    return run(
        *("make", ".venv", f"TORCH={torch}", f"PYTHON={python}"),
        folder=checkout,
        variables=environment({**STOCK, **variables}),
    )


def torch_of(checkout: Path) -> tuple[str, bool]:
    """Return the version of torch in the environment, and whether it is a CUDA build."""
    code = "import torch; print(torch.__version__, torch.version.cuda is not None)"
    result = run(checkout / ".venv/bin/python", "-c", code, folder=checkout, variables=os.environ)
    assert result.returncode == 0, result.stderr
    version, cuda = result.stdout.split()
    return version.partition("+")[0], cuda == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA builds of PyTorch are for Linux")
def test_a_stock_machine_builds_the_cuda_variant_from_pypi(checkout: Path) -> None:
    result = build(checkout, "cuda")

    assert result.returncode == 0, result.stderr
    assert torch_of(checkout) == ("2.13.0", True)


def test_a_stock_machine_builds_the_cpu_variant_from_the_index_of_pytorch(checkout: Path) -> None:
    try:
        socket.create_connection((PYTORCH_INDEX, 443), timeout=20).close()
    except OSError as error:
        pytest.skip(f"{PYTORCH_INDEX} did not answer ({error}), so its build cannot be installed")

    result = build(checkout, "cpu")

    assert result.returncode == 0, result.stderr
    assert torch_of(checkout) == ("2.13.0", False)


@pytest.mark.skipif(sys.platform != "linux", reason="on macOS the build is on PyPI")
def test_an_index_that_does_not_answer_is_one_sentence_with_a_remedy(checkout: Path) -> None:
    result = build(checkout, "cpu", UV_OFFLINE="1")

    assert result.returncode == 2
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "torch==2.13.0+cpu" in error
    assert "find-links (none are set)" in error
    assert f"installing it from https://{PYTORCH_INDEX}/whl/cpu failed" in error
    assert "TORCH=cuda" in error
    assert "PIP_FIND_LINKS" in error


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    result = run(
        *(UV, "build", "--quiet", "--wheel", "--out-dir", folder, REPOSITORY),
        folder=folder,
        variables=os.environ,
    )
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def core_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of a fresh environment with the wheel and no extras, at the locked versions."""
    folder = tmp_path_factory.mktemp("core")
    python = folder / ".venv" / "bin" / "python"
    links = os.environ.get("PIP_FIND_LINKS", "").replace(" ", ",")
    variables = {**os.environ, "UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS", links)}
    for command in (
        ("venv", "--quiet", "--python", sys.executable, folder / ".venv"),
        ("pip", "install", "--quiet", "--python", python,
         "--constraint", REPOSITORY / "requirements.lock", wheel),
    ):  # fmt: skip
        result = run(UV, *command, folder=folder, variables=variables)
        assert result.returncode == 0, result.stderr
    yield python
    shutil.rmtree(folder / ".venv")


def test_the_wheel_contains_only_the_package(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == {"polydistill"}


def test_the_wheel_without_extras_can_be_imported(core_python: Path, tmp_path: Path) -> None:
    result = run(
        *(core_python, "-c", "import polydistill; print(polydistill.__file__)"),
        folder=tmp_path,
        variables=environment({}),
    )

    assert result.returncode == 0, result.stderr
    assert str(core_python.parents[1]) in result.stdout


def test_the_wheel_without_extras_installs_no_orchestration(core_python: Path) -> None:
    result = run(
        *(UV, "pip", "list", "--quiet", "--python", core_python, "--format", "freeze"),
        folder=core_python.parent,
        variables=environment({}),
    )

    names = {line.partition("==")[0] for line in result.stdout.splitlines()}
    assert {"polydistill", "torch", "transformers", "filelock"} <= names
    assert names.isdisjoint({"dvc", "great-expectations", "mlflow", "mteb", "prefect"})


FIVE_LINES = """
import itertools, numpy as np, polydistill

words = "red blue old new small large quiet open iron paper river city table garden light".split()
texts = [" ".join(one) for one in itertools.islice(itertools.permutations(words, 4), 2000)]
counts = np.array([[text.count(word) for word in words] for text in texts], dtype=float)

class Letters:
    name = "letters"
    def encode(self, examples):
        return np.array([[text.count(letter) for letter in "abcdefghijklmnop"] for text in examples], dtype=float)

student = polydistill.distill(texts, teachers=[Letters(), polydistill.Precomputed(counts)], student="static")
assert student.encode(["a red table"]).shape == (1, student.dim)
assert student.teacher("letters").predict(["a red table"]).std.shape == (1, 16)
student.save("my-student")
again = polydistill.load("my-student")
assert np.array_equal(again.encode(texts[:8]), student.encode(texts[:8]))
print(sorted(student.teachers))
"""


def test_the_five_lines_run_with_the_wheel_and_no_extra(core_python: Path, tmp_path: Path) -> None:
    script = tmp_path / "five_lines.py"
    script.write_text(FIVE_LINES, encoding="utf-8")

    result = run(
        *(core_python, script),
        folder=tmp_path,
        variables=environment({"POLYDISTILL_CACHE": str(tmp_path / "cache")}),
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "['letters', 'precomputed']"
