"""A DVC project with the stage graph of ours, whose stages are one-line shell commands that take seconds."""

from __future__ import annotations

from pathlib import Path

import yaml

from polydistill.config.params import load_params, write_resolved
from tests.our_params import keep_teachers, text_params

REPOSITORY = Path(__file__).parents[1]
TEACHERS = ("text-minilm-l6", "text-glove-50d")
CONFIG = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
STAGES = """\
vars: ["params.resolved.yaml:enabled"]
stages:
  fetch-data:
    foreach: ${modalities}
    do:
      cmd: echo local >> runs.log && mkdir -p artifacts && echo local > artifacts/local
      deps: [source]
      outs: [artifacts/local]
  validate:
    foreach: ${modalities}
    do:
      cmd: echo validate >> runs.log && echo valid > artifacts/validation
      deps: [source, artifacts/local]
      outs: [artifacts/validation]
  embed:
    foreach: ${enabled.embed}
    do:
      cmd: >-
        echo ${item.teacher} >> runs.log && echo embedding with ${item.teacher} &&
        mkdir -p artifacts/embeddings && cat source > "artifacts/embeddings/${item.teacher}"
      deps: [source, artifacts/validation]
      outs:
        - "artifacts/embeddings/${item.teacher}"
  distill:
    foreach: ${modalities}
    do:
      cmd: echo distill >> runs.log && cat artifacts/embeddings/* > artifacts/student
      deps: [artifacts/embeddings]
      outs: [artifacts/student]
  evaluate:
    foreach: ${modalities}
    do:
      cmd: echo evaluate >> runs.log && cat artifacts/student > artifacts/scores
      deps: [artifacts/student]
      outs: [artifacts/scores]
"""


SHORT = """\
vars: ["params.resolved.yaml:enabled"]
stages:
  validate:
    foreach: ${modalities}
    do:
      cmd: echo validate >> runs.log && mkdir -p artifacts && echo valid > artifacts/validation
      deps: [source]
      outs: [artifacts/validation]
  embed:
    foreach: ${enabled.embed}
    do:
      cmd: >-
        echo ${item.teacher} >> runs.log && echo embedding with ${item.teacher} &&
        cat source > "artifacts/${item.teacher}"
      deps: [artifacts/validation]
      outs: ["artifacts/${item.teacher}"]
  distill:
    foreach: ${modalities}
    do:
      cmd: echo distill >> runs.log && cat artifacts/minilm-l6 artifacts/glove-50d > artifacts/student
      deps: [artifacts/minilm-l6, artifacts/glove-50d]
      outs: [artifacts/student]
"""
"""A minimal graph for flows: one stage alone, two in parallel, and one that depends on both."""
SHORT_STAGES = ["validate@text", *[f"embed@{teacher}" for teacher in TEACHERS], "distill@text"]


def make_toy_project(root: Path, stages: str = STAGES) -> Path:
    """Write a project with our `params.yaml`, two teachers, and toy stages."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(CONFIG)
    tree = text_params()
    keep_teachers(tree, "text", [key.partition("-")[2] for key in TEACHERS])
    (root / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    (root / "dvc.yaml").write_text(stages)
    (root / "source").write_text("one\n")
    write_resolved(root, load_params(root))
    return root


def runs(root: Path) -> list[str]:
    """Return the stages that ran, sorted."""
    log = root / "runs.log"
    return sorted(log.read_text().split()) if log.exists() else []
