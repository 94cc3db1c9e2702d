"""Extraction on a Ray cluster of this machine: the bytes of the local engine, whatever dies on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from polydistill.config.params import Params, parse_params
from polydistill.contracts import Progress, silent
from polydistill.data.ids import pack_ids
from polydistill.embeddings.compute import LOCAL, Engine
from polydistill.embeddings.exchange import Exchange
from polydistill.embeddings.extraction import WriteReport, write_embeddings
from polydistill.embeddings.store import open_embeddings
from polydistill.errors import InfrastructureError, ParamsError, StoreError
from polydistill.integrations.ray_engine import RayEngine
from polydistill.teachers import build_teacher
from tests.our_params import text_params

ray = pytest.importorskip("ray")
N_ROWS, SHARD_ROWS = 2_000, 100
TEXTS = [f"text number {row}" for row in range(N_ROWS)]
OPTIONS = {"dim": 8}


def params(
    address: str | None = None,
    workers: int | None = 2,
    exchange: str | None = None,
    **options: object,
) -> Params:
    tree = text_params()
    tree["threads"] = 1
    tree["embed"] = {"engine": "ray", "ray_address": address, "workers": workers}
    tree["embed"]["exchange"] = exchange
    tree["text"]["tasks"] = {}
    tree["text"]["teachers"] = {"hash": {"family": "hashing", **OPTIONS, **options}}
    return parse_params(tree)


def write(root: Path, engine: Engine = LOCAL, progress: Progress = silent) -> WriteReport:
    ids = pack_ids([f"{row:032x}" for row in range(N_ROWS)])
    teacher = build_teacher("hash", "hashing", OPTIONS, 1)
    return write_embeddings(
        root / "out",
        root / "work",
        ids,
        TEXTS,
        teacher,
        shard_rows=SHARD_ROWS,
        engine=engine,
        progress=progress,
    )


def contents(root: Path) -> dict[str, bytes]:
    files = [path for path in (root / "out").rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    write(tmp_path / "local")
    return contents(tmp_path / "local")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Start a head and two machines with one CPU each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    made.shutdown()  # type: ignore[no-untyped-call]


def workers(machine: Any) -> list[psutil.Process]:
    """Return the processes of actors on a machine."""
    raylet = psutil.Process(machine.all_processes["raylet"][0].process.pid)
    return [one for one in raylet.children(recursive=True) if "ShardWorker" in one.name()]


def test_the_bytes_are_those_of_the_local_engine_although_a_machine_is_lost(
    tmp_path: Path, cluster: Any, expected: dict[str, bytes]
) -> None:
    machines = [cluster.add_node(num_cpus=2) for _ in range(2)]
    lost: list[Any] = []
    deadline = time.monotonic() + 60

    def lose_one(what: str, done: int, total: int, **figures: float) -> None:
        while not lost and time.monotonic() < deadline:
            if sum(len(workers(one)) for one in (*machines, cluster.head_node)) == 2:
                lost.extend(one for one in machines if workers(one))  # the head has room for one
                cluster.remove_node(lost[0], allow_graceful=False)

    report = write(tmp_path, RayEngine(params(cluster.address), "text", "hash"), progress=lose_one)

    assert contents(tmp_path) == expected
    assert (report.computed, report.rows_computed) == (N_ROWS // SHARD_ROWS, N_ROWS)
    assert lost
    assert not ray.is_initialized()
    again = write(tmp_path, RayEngine(params("127.0.0.1:1"), "text", "hash"))
    assert (again.computed, again.reused) == (0, N_ROWS // SHARD_ROWS)  # without a cluster


def test_machines_without_a_common_folder_exchange_shards_at_a_url(
    tmp_path: Path, expected: dict[str, bytes]
) -> None:
    url = f"file://{tmp_path}/bucket/shards"

    write(tmp_path / "one", RayEngine(params(exchange=url), "text", "hash"))

    assert contents(tmp_path / "one") == expected
    assert len(Exchange(url).keys()) == N_ROWS // SHARD_ROWS
    without_a_cluster = RayEngine(params("127.0.0.1:1", exchange=url), "text", "hash")
    report = write(tmp_path / "two", without_a_cluster)
    assert (report.computed, report.reused) == (0, N_ROWS // SHARD_ROWS)
    assert contents(tmp_path / "two") == expected


def test_another_teacher_on_a_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="'hash' has other files or packages on a worker"):
        write(tmp_path, RayEngine(params(n=2), "text", "hash"))

    assert not (tmp_path / "out").exists()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"No Ray cluster at '127\.0\.0\.1:1'"):
        write(tmp_path, RayEngine(params("127.0.0.1:1"), "text", "hash"))


@pytest.mark.parametrize(
    "block",
    [
        {"engine": "rai"},
        {"workers": 0},
        {"adress": "auto"},
        ["text"],
        {"exchange": "s3://bucket/shards"},  # without Ray
        {"engine": "ray", "exchange": "shards"},
        {"engine": "ray", "exchange": "s3://"},
        {"engine": "ray", "exchange": "s3://key:secret@bucket/shards"},
    ],
)
def test_wrong_settings_of_the_engine_are_named(block: object) -> None:
    tree = text_params()
    tree["embed"] = block

    with pytest.raises(ParamsError, match="embed"):
        parse_params(tree)


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a head with three CPUs, without tokens; end what is left of it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    address = start_head()
    yield address
    stop()


def start_head() -> str:
    _ray("start", "--head", "--port=6399", "--num-cpus=3", "--disable-usage-stats")
    return "127.0.0.1:6399"


def stop() -> None:
    _ray("stop", "--force")


def _ray(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("ray")), *arguments]
    subprocess.run(command, check=True, capture_output=True, env=os.environ)


@pytest.mark.slow
def test_a_run_whose_cluster_ends_resumes_on_the_next_one(
    tmp_path: Path, head: str, expected: dict[str, bytes]
) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from tests.integrations.test_ray_engine import RayEngine, params, write;"
        f"write(Path({str(tmp_path)!r}), RayEngine(params({head!r}), 'text', 'hash'),"
        " progress=lambda *_, **__: time.sleep(0.5))"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    while len(list((tmp_path / "work").rglob("*.arrow"))) < 3:
        assert process.poll() is None
        time.sleep(0.1)

    stop()

    assert process.wait(timeout=120) != 0
    assert not (tmp_path / "out").exists()
    kept = {file.name for file in (tmp_path / "work").rglob("*.arrow")}
    start_head()
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    assert len(kept) >= 3
    assert contents(tmp_path) == expected
    assert len(open_embeddings(tmp_path / "out")) == N_ROWS
