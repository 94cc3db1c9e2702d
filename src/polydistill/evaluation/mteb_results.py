"""The folder of results that mteb's `ResultCache` reads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""mteb's results by model and task."""
MODEL_META = "model_meta.json"


def result_files(models: Mapping[str, Any], results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the content of each JSON file of the folder, by its path: `results/<model>/<revision>/<task>.json`.

    Args:
        models: mteb's `ModelMeta` of each model, by name.
        results: mteb's results.
    """
    files: dict[str, Mapping[str, Any]] = {}
    for name, meta in models.items():
        folder = f"results/{meta.model_name_as_path()}/{meta.revision}"
        files[f"{folder}/{MODEL_META}"] = json.loads(json.dumps(meta.to_dict(), default=str))
        files |= {f"{folder}/{task}.json": result for task, result in results[name].items()}
    return files


def read_metric(folder: Path, metric: str) -> dict[str, dict[str, float]]:
    """Return one of mteb's metrics, such as `recall_at_10`, by model and task; tasks without this metric are left out.

    Args:
        folder: The folder of results, `artifacts/<modality>/mteb`.
        metric: A key of the scores in mteb's results.
    """
    found: dict[str, dict[str, float]] = {}
    for meta in sorted(folder.glob(f"results/*/*/{MODEL_META}")):
        model = str(json.loads(meta.read_text("utf-8"))["name"]).rpartition("/")[2]
        for path in sorted(set(meta.parent.glob("*.json")) - {meta}):
            scores = json.loads(path.read_text("utf-8"))["scores"]["test"][0]
            if metric in scores:
                found.setdefault(model, {})[path.stem] = scores[metric]
    return found
