from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from polydistill.cli.flow_process import quick_overrides, run_flows
from polydistill.config.overrides import override
from polydistill.config.params import load_params, parse_params
from polydistill.errors import MissingDataError, ParamsError, UnknownNameError
from tests.our_params import our_params
from tests.toy_project import REPOSITORY


def test_a_quick_run_has_the_teachers_and_numbers_that_its_block_names() -> None:
    tree = our_params()

    for key, value in quick_overrides(parse_params(tree), "text").items():
        override(tree, key, value)

    quick = parse_params(tree)
    assert list(quick.enabled_teachers("text")) == ["minilm-l6", "glove-50d"]
    assert quick.modality("text").corpus.rows == 2000
    assert quick.modality("text").tasks["vader-nyt"].max_rows == 300
    assert quick.modality("text").warm_start.sha256 is None


def test_a_block_without_quick_is_refused() -> None:
    tree = our_params()
    del tree["text"]["quick"]

    for asked in ("text", "all"):
        with pytest.raises(ParamsError, match="'text' must have `quick`"):
            quick_overrides(parse_params(tree), asked)


def test_quick_teachers_must_be_teachers_of_the_block() -> None:
    tree = our_params()
    tree["text"]["quick"]["teachers"] = ["minilm"]

    with pytest.raises(
        UnknownNameError, match=r"teacher of text 'minilm'. Did you mean 'minilm-l6'"
    ):
        quick_overrides(parse_params(tree), "text")


def make_project(root: Path, code: str) -> Path:
    """A project whose flow is one line of Python."""
    (root / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    (root / "flows").mkdir()
    (root / "flows" / "retrain.py").write_text(code)
    (root / "data.dvc").write_text("outs:\n- path: data\n")
    return root


def test_all_runs_the_flow_of_each_listed_modality(tmp_path: Path) -> None:
    code = "import sys; open('ran', 'a').write(sys.argv[1] + ' '); sys.exit(5)"
    root = make_project(tmp_path, code)

    exit_codes = run_flows(root, "all")

    assert exit_codes == dict.fromkeys(load_params(root).modalities, 5)
    assert (root / "ran").read_text().split() == list(load_params(root).modalities)


def test_a_run_in_a_workspace_changes_no_file_of_the_project(tmp_path: Path) -> None:
    root = make_project(tmp_path, "open('dvc.lock', 'w')")
    (root / "dvc.yaml").write_text("stages: {}\n")
    before = sorted(path.name for path in root.iterdir())

    run_flows(root, "text", workspace="run")

    assert (root / ".polydistill" / "workspaces" / "run" / "dvc.lock").exists()
    assert sorted(path.name for path in root.iterdir()) == sorted([*before, ".polydistill"])


def test_an_unknown_modality_runs_nothing(tmp_path: Path) -> None:
    root = make_project(tmp_path, "open('ran', 'w')")

    with pytest.raises(UnknownNameError, match="Did you mean 'text'"):
        run_flows(root, "texts")

    assert not (root / "ran").exists()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_the_command_ends_its_flow_and_begins_no_other(
    tmp_path: Path, asked: signal.Signals
) -> None:
    root = make_project(
        tmp_path,
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('stages stopped', flush=True), sys.exit(143)))\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n",
    )
    call = [
        "import sys",
        "from pathlib import Path",
        "from polydistill.config.environment import exit_on_sigterm",
        "from polydistill.cli.flow_process import run_flows",
        "exit_on_sigterm()",
        "run_flows(Path(sys.argv[1]), 'all')",
    ]

    with subprocess.Popen(
        [sys.executable, "-c", "; ".join(call), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as command:
        assert command.stdout is not None
        flow = int(command.stdout.readline())
        command.send_signal(asked)
        told = command.stdout.read()

    assert command.returncode == (143 if asked is signal.SIGTERM else -signal.SIGINT)
    assert told == "stages stopped\n"
    with pytest.raises(ProcessLookupError):
        os.kill(flow, 0)


@pytest.mark.parametrize(
    ("block", "missing"),
    [
        ({"student": {"name": "static", "tokenizer": "no/tokenizer.json"}}, "no/tokenizer.json"),
        ({"teachers": {"own": {"family": "onnx", "model": "no.onnx", "dim": 8}}}, "teachers.own"),
        ({"teachers": {"own": {"family": "transformers", "model": "no"}}}, "teachers.own"),
        (
            {"teachers": {"own": {"family": "precomputed", "folder": "no", "dim": 8}}},
            "teachers.own",
        ),
    ],
)
def test_a_missing_model_file_is_found_before_the_first_stage(
    tmp_path: Path, block: dict[str, object], missing: str
) -> None:
    root = make_project(tmp_path, "open('ran', 'w')")
    tree = our_params()
    tree["modalities"] = ["text"]
    tree["text"] |= {"teachers": {"hashed": {"family": "hashing"}}, **block}
    tree["text"].pop("quick", None)
    (root / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")

    with pytest.raises(MissingDataError, match=re.escape(missing)):
        run_flows(root, "text")

    assert not (root / "ran").exists()


def test_a_project_without_data_dvc_runs_nothing(tmp_path: Path) -> None:
    root = make_project(tmp_path, "open('ran', 'w')")
    (root / "data.dvc").unlink()

    with pytest.raises(MissingDataError, match=r"No data.dvc .*`dvc add data`"):
        run_flows(root, "text")

    assert not (root / "ran").exists()
