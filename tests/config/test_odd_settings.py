"""Any odd value at any place of the settings is either valid or refused by an error that names the place."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polydistill.cli.flow_process import quick_overrides
from polydistill.config.overrides import changed
from polydistill.config.params import load_params, method_params, parse_params, read_tree
from polydistill.config.yaml_files import parse_yaml
from polydistill.errors import ParamsError
from polydistill.stages.resolve import resolve
from tests.our_params import ROOT

TREE = read_tree(ROOT)
COMPLETE = load_params(ROOT).model_dump(mode="json")
LONGEST = 2000
ODD: list[object] = [
    *(True, False, None, 0, -1, 1, 10**9, 10**30, 0.5, -1e308, 1e9, float("nan"), float("inf")),
    *("", " ", "010", "1e5", "no", "..", "a/b", "a.b", "é", "\0", "x" * 10_000, "<script>", "1:30"),
    *([], {}, [[]], [["text"]], [None], {"": {}}, {"name": "x"}, {"name": []}, {"a/b": {}}, [1.0]),
    *(["text"] * 3, list(range(10_000)), {"family": "onnx", "model": 3}, {"x": {"y": {"z": 1}}}),
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path of every node below the root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def replaced(tree: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    made: Any = copy.deepcopy(tree)
    node = made
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return dict(made)


def assert_named(error: ParamsError, parts: list[str]) -> None:
    """Assert that a short message names a part of the path of a setting."""
    said = str(error)
    assert any(part in said for part in parts), said
    assert len(said) < LONGEST, len(said)


def check(tree: dict[str, Any], path: tuple[Any, ...]) -> None:
    """Check the settings as `polydistill run --quick` does."""
    try:
        params = parse_params(tree)
        for modality in params.modalities:
            resolve(params, modality)
        changed(params, quick_overrides(params, params.modalities[0]))
    except ParamsError as error:
        assert_named(error, [part for part in path if isinstance(part, str)])


@given(st.sampled_from([*places(TREE)]), st.sampled_from(ODD))
@settings(max_examples=80, deadline=None)
def test_an_odd_value_in_params_yaml_is_valid_or_named(
    path: tuple[Any, ...], value: object
) -> None:
    check(replaced(TREE, path, value), path)


@given(st.sampled_from([*places(COMPLETE)]), st.sampled_from(ODD))
@settings(max_examples=80, deadline=None)
def test_an_odd_value_of_any_setting_is_valid_or_named(
    path: tuple[Any, ...], value: object
) -> None:
    check(replaced(COMPLETE, path, value), path)


@given(
    st.sampled_from([*places(TREE["text"] | {"training": {}, "student": {}})]), st.sampled_from(ODD)
)
@settings(max_examples=60, deadline=None)
def test_an_odd_setting_of_the_python_interface_is_valid_or_named(
    path: tuple[Any, ...], value: object
) -> None:
    tree = replaced({"training": {"epochs": 1}, "loss": {"name": "mse"}}, path[:1], value)

    try:
        method_params("text", tree)
    except ParamsError as error:
        assert_named(error, [str(path[0])])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(
            ("text.corpus.rows", odd)
            for odd in ("true", "1_000", "1:30", "1e3", "010", "'5'", "[5]", "5.0")
        ),
        *(
            ("seed", odd)
            for odd in ("010", "0o10", "-1", "4294967296", "1e2", "yes", "2024-01-01", "null")
        ),
        *(("text.training.epochs", odd) for odd in ("1e9", "1000000000", "0", ".inf", "{}", "no")),
        *(
            ("text.training.learning_rate", odd)
            for odd in (".nan", ".inf", "0", "true", "1_0.0", "'1'")
        ),
        *(
            ("text.student.dim", odd)
            for odd in ("0", "-1", "1e9", "1000000000", "true", "null", "[8]")
        ),
        *(
            ("text.gate.data_validated", odd)
            for odd in ("yes", "no", "on", "1", "0", "'true'", "null")
        ),
        *(("text.loss_weight", odd) for odd in ("-1", "1e7", "-.inf", "'0'", "[]")),
        *(("text.tasks.lee.label_range", odd) for odd in ("[1]", "[2, 1]", "[.nan, 1]", "1", "{}")),
        *(("text.teachers.glove-50d.dim", odd) for odd in ("0", "1e9", "x")),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_key_and_value(key: str, text: str) -> None:
    value = parse_yaml(text, "params.yaml")
    tree = load_params(ROOT).model_dump(mode="json")

    with pytest.raises(ParamsError, match=key.rpartition(".")[2]) as caught:
        refuse(replaced(tree, tuple(key.split(".")), value))

    assert re.search("got|required", str(caught.value))
    assert key.partition(".")[0] in str(caught.value)


def refuse(tree: dict[str, Any]) -> None:
    params = parse_params(tree)
    resolve(params, "text")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e9", 1e9), ("1E-3", 1e-3), ("-1.5e2", -150.0), (".5", 0.5), ("5.", 5.0), ("0x1f", 31)),
        *(("-0", 0), ("+7", 7), ("true", True), ("~", None), ("null", None)),
        *((text, text) for text in ("010", "0o10", "1_000", "1:30", "no", "y", "2024-01-01", "=")),
    ],
)
def test_scalars_are_read_as_in_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(text, "params.yaml")

    assert found == value
    assert type(found) is type(value)


def test_dvc_reads_the_same_scalars() -> None:
    from dvc.utils.serialize import parse_yaml as dvc_parse

    for text in ("1e9", "1E-3", "0x1f", "no", "1:30", ".5", "5.", "true", "~", "-.inf"):
        assert dvc_parse(f"a: {text}", "x")["a"] == parse_yaml(f"a: {text}", "x")["a"], text


GOOD = (ROOT / "params.yaml").read_bytes()
DAMAGED: dict[str, bytes] = {
    "binary": bytes(range(256)),
    "utf-16": GOOD.decode().encode("utf-16"),
    "latin-1": b"# gr\xf6\xdfe\n" + GOOD,
    "empty": b"",
    "null": b"null",
    "a list": b"- 1",
    "nested lists": b"[" * 5000,
    "closed nested lists": b"a: " + b"[" * 500 + b"]" * 500,
    "nested mappings": b"{a: " * 5000,
    "nested blocks": b"".join(b" " * depth + b"a:\n" for depth in range(2000)),
    "a long number": b"seed: " + b"9" * 10_000,
    "a conflict": b"<<<<<<< HEAD\nseed: 0\n=======\nseed: 1\n>>>>>>> other\n" + GOOD,
    "the end of a conflict": GOOD + b">>>>>>> 1234567 (a commit)\n",
    "twice a key": b"seed: 1\n" + GOOD,
    "a list as key": b"? [a]\n: b\n",
    "a number as key": b"1: b\n",
    "itself": b"text: &a {text: *a}\n",
    "code": b"text: !!python/object/apply:os.system [ls]\n",
    "a set": b"text: !!set {a, b}\n",
    "bytes": b"text: !!binary aGVsbG8=\n",
    "a date": b"text: !!timestamp x\n",
    "a bad integer": b"text: !!int x\n",
    "two documents": b"seed: 0\n---\nseed: 1\n",
    "a control character": b"seed: 0 \x07\n",
    "a nul": GOOD + b"\0",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_of_settings_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "params.yaml").write_bytes(content)

    with pytest.raises(ParamsError, match=r"params\.yaml") as caught:
        load_params(tmp_path)

    assert len(str(caught.value)) < LONGEST


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_bytes_in_params_yaml_are_settings_or_a_params_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(GOOD)))
    length = data.draw(st.integers(0, 40))
    added = data.draw(
        st.binary(max_size=20) | st.sampled_from([b"\t", b": ", b"&a *a", b"%YAML 9\n"])
    )
    folder = tmp_path_factory.mktemp("edited")
    (folder / "params.yaml").write_bytes(GOOD[:start] + added + GOOD[start + length :])

    try:
        load_params(folder)
    except ParamsError as error:
        assert_named(error, ["params.yaml"])


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_dangling(path: Path) -> None:
    path.symlink_to("nothing.yaml")


@pytest.mark.parametrize("make", [make_folder, make_loop, make_dangling])
def test_a_params_yaml_that_is_no_file_is_named(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "params.yaml")

    with pytest.raises(ParamsError, match=r"params\.yaml"):
        load_params(tmp_path)


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9._/-]{1,70}", fullmatch=True))
@settings(max_examples=80, deadline=None)
def test_a_name_is_safe_in_paths_stages_and_parameters_or_refused(name: str) -> None:
    tree = copy.deepcopy(TREE)
    task, teacher = tree["text"]["tasks"].pop("lee"), {"family": "hashing"}
    tree["text"]["tasks"][name] = task
    tree["text"]["teachers"][name] = teacher

    try:
        params = parse_params(tree)
    except ParamsError as error:
        assert_named(error, ["name of a task or teacher", "A teacher cannot have the name"])
    else:
        assert name in params.modality("text").tasks
        assert not set(name) - set(ascii_letters + digits + "-_")
        assert len(name) <= 64


@pytest.mark.parametrize("name", ["student", "undistilled", "champion"])
@pytest.mark.parametrize("block", ["teachers", "rivals"])
def test_the_name_of_a_student_is_refused(block: str, name: str) -> None:
    tree = copy.deepcopy(TREE)
    tree["text"].setdefault(block, {})[name] = {"family": "hashing"}

    with pytest.raises(ParamsError, match=f"A teacher cannot have the name '{name}'"):
        parse_params(tree)
