"""Pins that no resolver finds: what breaks without them, and that the lock keeps to them."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
LOCK = (REPOSITORY / "requirements.lock").read_text().splitlines()
PINNED = {
    requirement.name: requirement
    for requirement in map(Requirement, EXTRAS["prefect"])
    if requirement.name != "prefect"
}


@pytest.mark.parametrize(
    ("name", "broken"), [("fastapi", "0.151.0"), ("sqlalchemy", "2.1.0")], ids=str
)
def test_a_release_that_breaks_prefect_is_excluded_installed_and_locked(
    name: str, broken: str
) -> None:
    specifier = PINNED[name].specifier
    locked = next(line.partition("==")[2] for line in LOCK if line.startswith(f"{name}=="))

    assert not specifier.contains(broken)
    assert specifier.contains(metadata.version(name))
    assert specifier.contains(locked)


def test_the_prefect_server_can_be_imported() -> None:
    server = pytest.importorskip("prefect.server.api.server", exc_type=ModuleNotFoundError)

    assert callable(server.create_app)


def test_the_lock_brings_no_cuda_wheels_and_no_local_builds() -> None:
    cuda = [line for line in LOCK if re.match(r"(nvidia|triton|cuda)", line)]
    local = [line for line in LOCK if "+cpu" in line or line.startswith(("-f", "--find-links"))]

    assert cuda == []
    assert local == []


def test_the_lock_has_what_the_least_python_needs() -> None:
    """Prefect's redis wants one package more before Python 3.11.3, as Debian 12 has it."""
    wanted = {
        requirement.name
        for requirement in map(Requirement, metadata.requires("redis") or [])
        if requirement.marker
        and requirement.marker.evaluate({"python_full_version": "3.11.0", "extra": ""})
    }

    assert wanted == {"async-timeout"}
    assert {line.partition("==")[0] for line in LOCK} >= wanted
