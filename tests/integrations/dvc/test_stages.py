from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from polydistill.errors import InfrastructureError, MissingDataError, ParamsError, StageError
from polydistill.integrations.dvc import stages as dvc
from polydistill.integrations.processes import run_command, stop_all, stopped_on_failure
from tests.toy_project import make_toy_project

SLOW_STAGES = """\
stages:
  slow:
    foreach: [one, two]
    do:
      cmd: echo begin ${item}; mkdir -p begun; touch begun/${item}; until test -e begun/one -a -e begun/two; do sleep 0.1; done; echo ${item} > "${item}.txt"
      deps: [source]
      outs: ["${item}.txt"]
  held:
    cmd: until test -f go; do sleep 0.1; done; echo done > held.txt
    outs: [held.txt]
  refused:
    cmd: echo 'labels are missing' >&2; exit 3
  broken:
    cmd: python -c "raise OSError('no handles')"
  killed:
    cmd: kill -9 $$
  endless:
    cmd: (sleep 600 & echo $! > grandchild.pid; wait)
"""


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


@pytest.fixture
def slow_project(tmp_path: Path) -> Path:
    return make_toy_project(tmp_path / "project", SLOW_STAGES)


def test_stages_are_grouped_in_graph_order_with_teachers_side_by_side(tmp_path: Path) -> None:
    project = make_toy_project(tmp_path / "project")

    groups = dvc.stage_groups(project, "text")

    assert groups == [
        ["fetch-data@text"],
        ["validate@text"],
        ["embed@text-minilm-l6", "embed@text-glove-50d"],
        ["distill@text"],
        ["evaluate@text"],
    ]


def test_an_unknown_modality_is_refused_before_anything_runs(tmp_path: Path) -> None:
    project = make_toy_project(tmp_path / "project")

    with pytest.raises(ParamsError, match=r"Unknown modality 'tex'. Did you mean 'text'"):
        dvc.stage_groups(project, "tex")


def test_a_stage_runs_then_is_unchanged_then_comes_back_from_the_cache(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = make_toy_project(tmp_path / "project")

    first = dvc.reproduce(project, "fetch-data@text")
    again = dvc.reproduce(project, "fetch-data@text")
    (project / "source").write_text("two\n")
    changed = dvc.reproduce(project, "fetch-data@text")
    (project / "source").write_text("one\n")
    back = dvc.reproduce(project, "fetch-data@text")

    states = [state.state for state in (first, again, changed, back)]
    assert states == ["ran", "unchanged", "ran", "restored"]
    assert first.seconds > 0
    assert "Updating lock file" not in capfd.readouterr().out


def test_two_stages_side_by_side_both_arrive_in_the_lock_file(
    slow_project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(2) as pool:  # each stage ends only after the other has begun
        states = list(pool.map(lambda s: dvc.reproduce(slow_project, s), ["slow@one", "slow@two"]))

    lock = yaml.safe_load((slow_project / "dvc.lock").read_text())
    assert [state.state for state in states] == ["ran", "ran"]
    assert set(lock["stages"]) == {"slow@one", "slow@two"}
    assert "begin one" in capfd.readouterr().out


def test_a_failed_stage_says_its_exit_code_and_last_lines(slow_project: Path) -> None:
    with pytest.raises(StageError, match=r"(?s)refused failed with exit code 3.*labels are") as got:
        dvc.reproduce(slow_project, "refused")

    assert not isinstance(got.value, InfrastructureError)
    assert got.value.exit_code == 3


def test_the_error_of_a_failed_stage_repeats_only_the_end_of_a_traceback(
    slow_project: Path,
) -> None:
    with pytest.raises(StageError, match="OSError: no handles") as got:
        dvc.reproduce(slow_project, "broken")

    assert "Traceback" not in str(got.value)
    assert "File" not in str(got.value)


def test_a_stage_that_a_signal_ended_is_worth_another_try(slow_project: Path) -> None:
    with pytest.raises(InfrastructureError, match="killed failed with exit code"):
        dvc.reproduce(slow_project, "killed")


def test_a_stage_that_another_process_is_running_is_worth_another_try(slow_project: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(dvc.reproduce, slow_project, "held", timeout_s=90)
        wait_until(lambda: "held" in rwlock(slow_project), timeout_s=60)

        with pytest.raises(InfrastructureError, match="is busy"):
            dvc.reproduce(slow_project, "held")
        (slow_project / "go").touch()

        assert other.result().state == "ran"


def rwlock(project: Path) -> str:
    file = project / ".dvc" / "tmp" / "rwlock"
    return file.read_text() if file.exists() else ""


def test_a_timeout_kills_grandchildren_too(slow_project: Path) -> None:
    with pytest.raises(StageError, match="was stopped after its limit of 6 s") as got:
        dvc.reproduce(slow_project, "endless", timeout_s=6)

    grandchild = int((slow_project / "grandchild.pid").read_text())
    assert not isinstance(got.value, InfrastructureError)
    wait_until(lambda: not is_running(grandchild))


def test_the_settings_limit_the_duration_of_a_stage(slow_project: Path) -> None:
    file = slow_project / "params.yaml"
    file.write_text(file.read_text().replace("stage_hours: 4.0", "stage_hours: 0.002"))

    with pytest.raises(StageError, match=r"was stopped after its limit of 7\.?\d* s"):
        dvc.reproduce(slow_project, "endless")


def test_stopping_all_kills_grandchildren_that_ignore_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polydistill.integrations.processes.GRACE_S", 0.2)
    script = "trap '' TERM; (trap '' TERM; sleep 600) & echo $! > pid; wait"
    errors: list[BaseException] = []

    def run() -> None:
        try:
            run_command(["/bin/sh", "-c", script], tmp_path, timeout_s=60)
        except StageError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    stop_all()
    thread.join(20)

    assert len(errors) == 1
    wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_an_interrupt_leaves_no_command_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ThreadPoolExecutor(1) as pool, stopped_on_failure():
            command = ["/bin/sh", "-c", "echo $$ > pid; exec sleep 600"]
            pool.submit(run_command, command, tmp_path, timeout_s=60)
            wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_children_find_the_commands_of_this_interpreter_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    finished = run_command(["/bin/sh", "-c", "echo $PATH"], tmp_path, timeout_s=10)

    assert finished.lines[0].split(":")[0] == str(Path(sys.executable).parent)


def test_a_command_that_does_not_exist_is_a_stage_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="`no-such-command` cannot start"):
        run_command(["no-such-command"], tmp_path, timeout_s=1)


def test_data_needs_its_pointer(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"No data.dvc in .*dvc add data"):
        dvc.sync_data(tmp_path)


def test_data_is_pulled_from_the_remote_and_known_by_its_hash(tmp_path: Path) -> None:
    project = make_toy_project(tmp_path / "project")
    (project / "data").mkdir()
    (project / "data" / "corpus.txt").write_text("a text\n")
    for arguments in (
        ["remote", "add", "-d", "store", "../.dvcstore"],
        ["add", "data"],
        ["push", "data.dvc"],
    ):
        assert run_command([*dvc.DVC, *arguments], project, timeout_s=60).exit_code == 0
    for folder in ("data", ".dvc/cache"):
        (project / folder).rename(tmp_path / f"gone-{Path(folder).name}")
    assert "data.dvc" in dvc.status(project)

    assert [dvc.sync_data(project), dvc.sync_data(project)] == ["pulled", "unchanged"]

    assert (project / "data" / "corpus.txt").read_text() == "a text\n"
    assert "data.dvc" not in dvc.status(project)
    assert dvc.data_hash(project).endswith(".dir")


def test_unsaved_edits_of_the_data_are_kept_and_saved_ones_give_way(tmp_path: Path) -> None:
    project = make_toy_project(tmp_path / "project")
    texts = project / "data" / "corpus.txt"
    texts.parent.mkdir()
    texts.write_text("mine\n")
    assert dvc.sync_data(project) == "edited"  # no data.dvc yet

    run_command([*dvc.DVC, "add", "data"], project, timeout_s=60)
    pointer = (project / "data.dvc").read_bytes()
    texts.write_text("mine, edited\n")
    assert dvc.sync_data(project) == "edited"
    assert texts.read_text() == "mine, edited\n"

    run_command([*dvc.DVC, "add", "data"], project, timeout_s=60)
    (project / "data.dvc").write_bytes(pointer)
    assert dvc.sync_data(project) == "pulled"
    assert texts.read_text() == "mine\n"


def test_what_is_given_to_dvc_leaves_a_pointer_that_brings_it_back(tmp_path: Path) -> None:
    project = make_toy_project(tmp_path / "project")
    folder = project / "kept" / "one"
    folder.mkdir(parents=True)
    (folder / "file").write_text("content")

    pointer = dvc.add(project, folder)

    assert pointer == project / "kept" / "one.dvc"
    (folder / "file").unlink()
    assert run_command([*dvc.DVC, "checkout", str(pointer)], project, timeout_s=60).exit_code == 0
    assert (folder / "file").read_text() == "content"
