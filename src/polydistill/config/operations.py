"""Settings of the gate, scheduled runs, notifications and quick runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from polydistill.config.nodes import (
    Megabytes,
    Milliseconds,
    Node,
    Ratio,
    Score,
    ScoreMargin,
    Several,
    Share,
    Url,
)
from polydistill.errors import ParamsError

COMMERCIAL_LICENCES = (
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT"),
    *("MPL-2.0", "ODC-By-1.0", "PDDL-1.0", "Unlicense"),
)
STAGE_HOURS = 4.0
RetrainPolicy = Literal["always", "on-new-data", "on-drift"]
NoticeEvent = Literal["refused", "promoted", "failed", "diverged"]


class EmbedParams(Node):
    """Where the teachers run. The embeddings do not depend on it."""

    engine: Literal["local", "ray"] = "local"
    """`local`: in the process of the embed stage; `ray`: on the machines of a Ray cluster."""
    ray_address: str | None = None
    """Address of the Ray cluster, such as `auto` or `ray-head:6379`; null: a cluster on this machine alone."""
    workers: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Maximum number of Ray workers; null: one per GPU, or as many as the CPUs allow."""
    exchange: Url | None = None
    """URL of a folder, such as `s3://bucket/shards`, to which Ray workers write shards; null: the project's folder."""

    @model_validator(mode="after")
    def _exchange_between_workers(self) -> EmbedParams:
        if self.exchange is not None and self.engine != "ray":
            raise ParamsError("`exchange` is for Ray's workers: set `engine: ray`, or omit it.")
        return self


class GateParams(Node):
    """Rules that a challenger must pass to become the champion. A null bound disables its rule."""

    min_gain: Score = -0.002
    """Minimum gain in mean score over the champion; a negative value allows a decrease."""
    max_regression_per_task: ScoreMargin | None = 0.02
    """Maximum decrease of a score below the champion's; a larger one fails only if it is significant."""
    min_gain_over_undistilled: Score | None = 0.0
    """Minimum gain in mean score over the undistilled student."""
    max_harm_per_task: ScoreMargin | None = 0.02
    """Maximum decrease of a score below the undistilled student's; a larger one fails only if it is significant."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence level of the intervals. Each per-task rule has the significance level 1 - `confidence`."""
    resamples: Annotated[int, Field(ge=100, le=10**6)] = 10_000
    """Number of bootstrap resamples of the examples."""
    max_latency_ratio: Ratio | None = 1.25
    """Maximum ratio of latencies, challenger to champion, in one process; for batches of 1 and of 64."""
    max_latency_ms: Milliseconds | None = None
    """Maximum latency of one example, on the machine that promotes."""
    max_size_mb: Megabytes | None = 64.0
    """Maximum size of the bundle on disk."""
    max_memory_mb: Megabytes | None = 512.0
    """Maximum growth of peak memory in a new process that loads the student and embeds a few examples."""
    max_contamination: Share | None = 0.0
    """Maximum share of a task's examples that are in the corpus too, exactly or with trivial differences."""
    data_validated: bool = True
    """Require that the validated data are exactly the data that the student was trained on."""
    reproducible: Literal["required", "unless-refuted", "any"] = "unless-refuted"
    """`required`: the version's tag `reproducible` must be true; `unless-refuted`: it must not be false."""
    licence_policy: Literal["any", "commercial"] = "commercial"
    """`commercial`: every teacher's licence must be known to allow commercial use."""
    commercial_licences: Several[str] = COMMERCIAL_LICENCES
    """SPDX identifiers that allow commercial use."""
    smoke_test: bool = Field(default=True, validation_alias=AliasChoices("smoke_test", "canary"))
    """Load the published bundle in a new process and compare its embeddings with the expected ones."""


class DriftParams(Node):
    """The test for drift between an incoming corpus and the champion's corpus."""

    rows: Annotated[int, Field(ge=10, le=10**6, json_schema_extra={"unit": "rows"})] = 1000
    """Number of rows drawn from each corpus for the test on embeddings."""
    permutations: Annotated[int, Field(ge=99, le=10**6)] = 499
    level: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Significance level of the test on embeddings: the largest p-value that counts as drift."""
    tolerance: Annotated[float, Field(gt=0)] = 0.1
    """Maximum change of a column's mean: relative for a measure such as text length, absolute for a share of rows."""


class RetrainParams(Node):
    """When a scheduled run trains, and whether it may promote without approval."""

    policy: RetrainPolicy = "always"
    """`always`, or only if `data.dvc` differs from the champion's (`on-new-data`), or only after drift (`on-drift`)."""
    catch_up: Literal["skip", "latest", "all"] = "latest"
    """Which missed runs of a schedule are run later."""
    grace_s: Annotated[float, Field(ge=0, le=10**8, json_schema_extra={"unit": "s"})] = 900.0
    """Delay after which a run counts as missed."""
    approval: Literal["none", "manual"] = "none"
    """`manual`: a person approves each promotion."""
    approval_timeout_s: Annotated[int, Field(ge=1, le=10**8, json_schema_extra={"unit": "s"})] = (
        86_400
    )
    """Time to wait for approval; without approval by then, the champion stays."""
    drift: DriftParams = DriftParams()

    @model_validator(mode="after")
    def _permutations_suffice_for_level(self) -> RetrainParams:
        least = 1 / (1 + self.drift.permutations)
        if least > self.drift.level:
            raise ParamsError(
                f"retrain.drift.level must be at least {least:.4g}, the least p that "
                f"{self.drift.permutations} permutations can give, got {self.drift.level:g}."
            )
        return self


class NotifyParams(Node):
    """A receiver of notifications: a Prefect block, or a webhook whose URL is in an environment variable."""

    on: Several[NoticeEvent] = Field(min_length=1)
    block: Annotated[str | None, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")] = None
    """Type and name of a Prefect block, such as slack-webhook/team."""
    url_env: Annotated[str | None, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = None
    """Name of the environment variable that holds the URL."""

    @model_validator(mode="after")
    def _one_receiver(self) -> NotifyParams:
        if (self.block is None) == (self.url_env is None):
            raise ParamsError("Each row of notify needs exactly one of `block` and `url_env`.")
        return self


class QuickParams(Node):
    """Changes to a modality's settings in a quick run, so that the pipeline takes minutes."""

    teachers: Annotated[Several[str], Field(min_length=1)]
    """Teachers that a quick run enables."""
    put: dict[str, object] = Field({})
    """Values that override those of the modality's block, by dotted key within the block."""
