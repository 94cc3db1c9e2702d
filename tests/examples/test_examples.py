"""The scripts in `examples/` run, and what they print is worth reading."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture
def printed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """What the script that a test names prints."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("POLYDISTILL_CACHE", str(tmp_path))
    runpy.run_path(str(FOLDER / request.param), run_name="__main__")
    return capsys.readouterr().out


def scores(printed: str) -> dict[str, float]:
    """Return the score of each model in a printed table."""
    rows = re.findall(r"^\d+ +\S+ +\S+ +(\S+) +(0\.\d+)", printed, re.MULTILINE)
    return {model: float(score) for model, score in rows}


@pytest.mark.slow
@pytest.mark.parametrize("printed", ["text.py"], indirect=True)
def test_text(printed: str) -> None:
    found = scores(printed)

    assert "teachers=['minilm-l6', 'glove-50d']" in printed
    assert "'draw a random number' finds" in printed
    assert found["glove-50d"] < found["student"]


@pytest.mark.slow
@pytest.mark.parametrize("printed", ["images.py"], indirect=True)
def test_images(printed: str) -> None:
    found = scores(printed)

    assert "digits most similar to a 0: [0, 0, 0, 0, 0]" in printed
    assert found["student"] > found["eigendigits"]


@pytest.mark.slow
@pytest.mark.parametrize("printed", ["molecules.py"], indirect=True)
def test_molecules(printed: str) -> None:
    assert "most similar to aspirin: " in printed
    assert scores(printed)["student"] > 0.5


@pytest.mark.parametrize("printed", ["two_tables.py"], indirect=True)
def test_two_tables(printed: str) -> None:
    cosines = [float(one) for one in re.findall(r"cosine (0\.\d+)", printed)]
    shares = [int(one) for one in re.findall(r"(\d+)% of the values", printed)]

    assert min(cosines) > 0.4
    assert all(84 <= share <= 96 for share in shares)


def test_every_script_is_tested() -> None:
    scripts = {file.name for file in FOLDER.glob("*.py")} - {"docstrings.py"}

    tested = set(re.findall(r'"printed", \["(\S+)"\]', Path(__file__).read_text(encoding="utf-8")))

    assert tested == scripts
