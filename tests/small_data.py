"""A project folder with a tiny corpus and tiny tasks, and a rule checker in plain pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from polydistill.config.params import Params, load_params
from polydistill.contracts import Rule
from polydistill.data.modalities.text import TextModality
from polydistill.stages.validate import Part, RuleResult, result_of
from tests.our_params import text_params

REPOSITORY = Path(__file__).parents[1]
TEXT = TextModality()
TASKS = {
    "topics": {"kind": "classification", "path": "data/topics.parquet", "domain": "in"},
    "ratings": {"kind": "regression", "path": "data/ratings.parquet", "domain": "out"},
    "pairs": {"kind": "sts", "path": "data/pairs.csv", "domain": "out"},
}


def make_frames() -> dict[str, pd.DataFrame]:
    """Return a valid corpus of 12 rows and valid tasks of 8, 6 and 4 rows."""
    corpus = _examples([f"a sentence about thing number {n}" for n in range(12)])
    topics = _examples([f"a question about topic {n}" for n in range(8)])
    ratings = _examples([f"what a good film number {n}" for n in range(6)])
    pairs = pd.DataFrame({"text1": list("abcd"), "text2": list("efgh"), "label": [0.1, 2, 3, 4]})
    pairs.insert(0, "id", [f"pair-{n}" for n in range(4)])
    return {
        "corpus": corpus.assign(source="made"),
        "topics": topics.assign(label=["red", "blue"] * 4, split=["train"] * 4 + ["test"] * 4),
        "ratings": ratings.assign(label=[-1.5, 0, 1, 2, 3, 4], split=["train", "test"] * 3),
        "pairs": pairs,
    }


def write_project(root: Path, frames: Mapping[str, pd.DataFrame]) -> Params:
    """Write `params.yaml` and the tables; return the parameters."""
    tree = text_params()
    tree["text"]["corpus"] = {"path": "data/corpus.parquet", "rows": 10, "held_out": 0.2}
    tree["text"]["tasks"] = TASKS
    (root / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    (root / "data").mkdir(exist_ok=True)
    frames["corpus"].to_parquet(root / "data" / "corpus.parquet")
    for name, task in TASKS.items():
        path = root / task["path"]
        if path.suffix == ".csv":
            frames[name].to_csv(path, index=False)
        else:
            frames[name].to_parquet(path)
    return load_params(root)


def _examples(texts: Sequence[str]) -> pd.DataFrame:
    ids = [TEXT.content_id(text) for text in texts]
    return pd.DataFrame({"id": ids, "text": texts, "group": [f"group-{one[:8]}" for one in ids]})


class PandasChecker:
    """See `stages.validate.RuleChecker`. It implements the expectations that our rules use."""

    def check(self, parts: Iterable[Part]) -> list[list[RuleResult]]:
        return [[_check(table, frame, rule) for rule in rules] for table, (frame, rules) in parts]


def _check(table: str, frame: pd.DataFrame, rule: Rule) -> RuleResult:
    name = str(rule.kwargs["column"])
    broken = _broken(frame, name, rule) if name in frame else pd.Series(dtype=bool)
    rows, success = broken.index[broken].tolist(), name in frame and not broken.any()
    return result_of(table, frame, rule, success=success, count=len(rows), rows=rows)


def _broken(frame: pd.DataFrame, name: str, rule: Rule) -> pd.Series[bool]:
    column = frame[name]
    match rule.type:
        case "expect_column_to_exist":
            return pd.Series(data=False, index=frame.index)
        case "expect_column_values_to_not_be_null":
            return column.isna()
        case "expect_column_values_to_be_unique":
            return column.duplicated(keep=False) & column.notna()
        case "expect_column_values_to_be_in_set":
            allowed = rule.kwargs["value_set"]
            assert isinstance(allowed, list)
            return ~column.isin(allowed) & column.notna()
        case "expect_column_values_to_be_between":
            return _outside(column, rule)
        case "expect_column_value_lengths_to_be_between":
            return _outside(column.str.len(), rule)
    raise AssertionError(rule.type)


def _outside(column: pd.Series, rule: Rule) -> pd.Series[bool]:
    low, high = rule.kwargs.get("min_value"), rule.kwargs.get("max_value")
    outside = pd.Series(data=False, index=column.index)
    if isinstance(low, int | float):
        outside |= column < low
    if isinstance(high, int | float):
        outside |= column > high
    return outside
