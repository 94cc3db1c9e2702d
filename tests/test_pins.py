"""Pins that no resolver finds: what breaks without them, and that the lock respects them."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
CUDA = re.compile(r"(nvidia|triton|cuda)")


def read_lock(file: str) -> dict[str, Requirement]:
    """Return the pins of a lock by package. Each package must have one version."""
    pins = [Requirement(line) for line in (REPOSITORY / file).read_text().splitlines()]
    by_name = {pin.name: pin for pin in pins}
    assert len(by_name) == len(pins), f"{file} pins a package twice"
    return by_name


LOCK = read_lock("requirements.lock")
CUDA_LOCK = read_lock("requirements-cuda.txt")
PREFECT_PINS = {
    requirement.name: requirement
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["prefect"])
}


def locked_version(name: str) -> str:
    (specifier,) = LOCK[name].specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize(
    ("name", "broken"), [("fastapi", "0.151.0"), ("sqlalchemy", "2.1.0")], ids=str
)
def test_a_release_that_breaks_prefect_is_excluded_installed_and_locked(
    name: str, broken: str
) -> None:
    specifier = PREFECT_PINS[name].specifier

    assert not specifier.contains(broken)
    assert specifier.contains(metadata.version(name))
    assert specifier.contains(locked_version(name))


def test_the_prefect_server_can_be_imported() -> None:
    server = pytest.importorskip("prefect.server.api.server", exc_type=ModuleNotFoundError)

    assert callable(server.create_app)


def test_the_lock_has_no_torch_build_and_no_cuda_package() -> None:
    """`make` chooses the build: `+cpu`, or PyPI's build with the packages of requirements-cuda.txt."""
    assert str(LOCK["torch"]) == f"torch=={locked_version('torch')}"
    assert [name for name in LOCK if CUDA.match(name)] == []
    assert [name for name in CUDA_LOCK if not CUDA.match(name)] == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_cuda_lock_contains_the_libraries_that_torch_loads_on_import(machine: str) -> None:
    """Without cuDNN: `ImportError: libcudnn.so.9: cannot open shared object file`."""
    linux = {"sys_platform": "linux", "platform_machine": machine}
    mac = {"sys_platform": "darwin", "platform_machine": "arm64"}
    applies = {
        name
        for name, pin in CUDA_LOCK.items()
        if pin.marker is None or pin.marker.evaluate({**linux, "python_full_version": "3.14.0"})
    }

    assert {"nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-nccl-cu13", "triton"} <= applies
    assert not any(pin.marker is None or pin.marker.evaluate(mac) for pin in CUDA_LOCK.values())


def test_the_lock_has_the_packages_for_the_lowest_python_version() -> None:
    """Before Python 3.11.3, the version in Debian 12, the redis client of Prefect needs one more package."""
    least = {"python_full_version": "3.11.0", "extra": ""}
    wanted = {
        requirement.name
        for requirement in map(Requirement, metadata.requires("redis") or [])
        if requirement.marker and requirement.marker.evaluate(least)
    }

    assert wanted == {"async-timeout"}
    marker = LOCK["async-timeout"].marker
    assert marker is None or marker.evaluate(least)
