"""The errors of `make` on an incomplete machine, and the stored choice of the PyTorch build."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
COPIED = ("Makefile", "pyproject.toml", "requirements.lock", "requirements-cuda.txt", "scripts")
PROGRAMS = ("awk", "bash", "cat", "dirname", "env", "git", "grep", "make", "rm", "sed")
GOOD_PYTHON = f'exec "{sys.executable}" "$@"'


class Machine:
    """A checkout on a machine that has only the programs in PROGRAMS and the added ones."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.programs = folder / "bin"
        self.checkout.mkdir()
        self.programs.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
            copy(REPOSITORY / name, self.checkout / name)
        for name in PROGRAMS:
            (self.programs / name).symlink_to(shutil.which(name) or name)
        for name in ("npm", "cc"):
            self.add(name, "exit 0")
        self.add("python3", GOOD_PYTHON)
        self.is_a("Linux x86_64")

    def add(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def remove(self, name: str) -> None:
        (self.programs / name).unlink()

    def is_a(self, kind: str) -> None:
        system, machine = kind.split()
        self.add(
            "uname", f'for a; do case $a in -s) echo {system};; -m) echo {machine};; *) echo {kind};; esac; done'
        )  # fmt: skip

    def make(
        self, *arguments: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.programs), "HOME": str(self.checkout)}
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            [str(self.programs / "make"), *arguments],
            cwd=self.checkout,
            env=env | dict(variables or {}),
            capture_output=True,
            text=True,
            check=False,
        )

    def refusal(self, *arguments: str, **variables: str) -> str:
        """Return the error of `make`, which is one sentence."""
        result = self.make(".venv", *arguments, variables=variables)
        assert result.returncode == 2
        (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert not (self.checkout / ".venv" / ".ready").exists()
        return error


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("kind", ["Darwin x86_64", "Windows_NT x86_64", "Linux riscv64"])
def test_a_platform_without_torch_wheels_is_refused(machine: Machine, kind: str) -> None:
    machine.is_a(kind)

    assert "macOS on Apple silicon" in machine.refusal()


def test_there_is_no_cuda_on_macos(machine: Machine) -> None:
    machine.is_a("Darwin arm64")

    assert "TORCH=cpu" in machine.refusal("TORCH=cuda")


def test_linux_on_arm64_needs_a_compiler(machine: Machine) -> None:
    machine.is_a("Linux aarch64")
    machine.remove("cc")

    assert "install a C compiler" in machine.refusal()


def test_an_unknown_build_of_torch_is_refused(machine: Machine) -> None:
    assert "must be cpu or cuda, got 'rocm'" in machine.refusal("TORCH=rocm")


@pytest.mark.parametrize("version", ["2.7.18", "3.10.13", "3.15.0"])
def test_a_python_version_outside_the_range_is_refused(machine: Machine, version: str) -> None:
    tuple_ = tuple(map(int, version.split(".")))
    machine.add(
        "python3",
        f'[ "$1" = -V ] && echo "Python {version}" >&2 && exit\n'
        f'exec "{sys.executable}" -c "import sys; sys.version_info = {tuple_}; $2"',
    )

    assert (
        f"Python 3.11 to 3.14 is needed and 'python3' is Python {version}: name another"
        in machine.refusal()
    )


def test_a_missing_python_is_named(machine: Machine) -> None:
    assert "there is no 'python3.99'" in machine.refusal("PYTHON=python3.99")


def test_a_missing_venv_module_is_named(machine: Machine, tmp_path: Path) -> None:
    """Debian ships `ensurepip` in a separate package."""
    (tmp_path / "ensurepip.py").write_text("raise ImportError")

    assert "apt-get install python3-venv" in machine.refusal(PYTHONPATH=str(tmp_path))


def test_missing_npm_and_git_identity_are_notes(machine: Machine) -> None:
    machine.remove("npm")

    notes = machine.make(".venv", "PYTHON=none").stderr

    assert "note: npm is missing, so the benchmark task brown-genre is left out" in notes
    assert "note: git has no identity" in notes


def test_an_old_make_is_refused(machine: Machine) -> None:
    result = machine.make("MAKE_VERSION=3.81", "help")

    assert result.returncode == 2
    assert "GNU make 4 or newer is needed and this is 3.81" in result.stderr


def test_the_build_of_torch_is_remembered_and_can_be_switched(machine: Machine) -> None:
    ready = machine.checkout / ".venv" / ".ready"
    ready.parent.mkdir()
    ready.write_text("cuda\n")

    assert "build_environment" not in machine.make("-n", "help", ".venv").stdout
    assert "build_environment" not in machine.make("-n", ".venv", "TORCH=cuda").stdout
    assert "build_environment cpu" in machine.make("-n", ".venv", "TORCH=cpu").stdout
    (machine.checkout / "requirements.lock").touch()
    os.utime(ready, (0, 0))
    assert "build_environment cuda" in machine.make("-n", ".venv").stdout


def prove(*path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "prove_environment.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_package_that_cannot_be_imported_ends_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "accelerate.py").write_text("raise ImportError('libcudnn.so.9: no such file')")

    result = prove(tmp_path)

    assert result.returncode == 1
    assert result.stderr.startswith(
        "error: `import accelerate` failed in the new environment (ImportError: libcudnn.so.9: no such file):"
    )
    assert "remove .venv" in result.stderr


@pytest.mark.slow
def test_the_current_environment_passes_the_check() -> None:
    assert prove().returncode == 0


def test_the_check_imports_all_needed_packages() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "prove_environment.py"))

    modules = set(script["modules"]())

    assert {"torch", "transformers", "tokenizers", "numpy", "scipy", "sklearn"} <= modules
    assert {"sentence_transformers", "onnxruntime", "rdkit", "mteb", "PIL"} <= modules
    assert {"mlflow", "prefect", "dvc", "great_expectations", "psycopg2"} <= modules
    assert not modules & {"pytest", "mkdocs", "mypy"}
