"""What happens to a student after its scores: the gate, scheduled runs, notices, quick runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from polydistill.config.nodes import (
    Megabytes,
    Milliseconds,
    Ratio,
    Score,
    ScoreMargin,
    Share,
    Tree,
)
from polydistill.errors import ParamsError

COMMERCIAL_LICENCES = (
    *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "ISC", "MIT"),
    *("MPL-2.0", "ODC-By-1.0", "PDDL-1.0", "Unlicense"),
)
RetrainPolicy = Literal["always", "on-new-data", "on-drift"]
NoticeEvent = Literal["refused", "promoted", "failed", "diverged"]


class GateParams(Tree):
    """When a challenger becomes champion. A rule whose bound is null is not applied."""

    min_gain: Score = Field(
        -0.002,
        description="Least gain in the mean score over the champion; a seed changes it by .001.",
    )
    max_regression_per_task: ScoreMargin | None = Field(
        0.02, description="A task may lose this much to the champion; more, if noise explains it."
    )
    min_gain_over_undistilled: Score | None = Field(
        0.0, description="Least gain in the mean score over the student before its first step."
    )
    max_harm_per_task: ScoreMargin | None = Field(
        0.02, description="A task may lose this much to that student; more, if noise explains it."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="Of the intervals, and that no equal task counts as a regression."
    )
    resamples: Annotated[int, Field(ge=100)] = Field(
        10_000, description="Bootstrap resamples of the examples."
    )
    max_latency_ratio: Ratio | None = Field(
        1.25, description="Time over the champion's, in one process: the worse of batch 1 and 64."
    )
    max_latency_ms: Milliseconds | None = Field(
        None, description="For one example, on the machine that promotes."
    )
    max_size_mb: Megabytes | None = Field(64.0, description="The bundle on disk.")
    max_memory_mb: Megabytes | None = Field(
        512.0, description="Growth of a fresh process's peak memory."
    )
    max_contamination: Share | None = Field(
        0.0, description="Share of a task's examples that the corpus may contain."
    )
    data_validated: bool = Field(
        default=True, description="Require a validation of exactly the data that was trained on."
    )
    reproducible: Literal["required", "unless-refuted", "any"] = Field(
        "unless-refuted",
        description="What the version's stamp must say; `unless-refuted`: not `false`.",
    )
    licence_policy: Literal["any", "commercial"] = Field(
        "commercial", description="`commercial`: every teacher's licence is known to allow it."
    )
    commercial_licences: tuple[str, ...] = Field(
        COMMERCIAL_LICENCES, description="SPDX identifiers that allow commercial use."
    )
    smoke_test: bool = Field(
        default=True,
        validation_alias=AliasChoices("smoke_test", "canary"),
        description="Load the published bundle in a fresh process, and compare its answers.",
    )


class DriftParams(Tree):
    """When an incoming corpus has drifted from the champion's."""

    rows: Annotated[int, Field(ge=10, json_schema_extra={"unit": "rows"})] = Field(
        1000, description="Drawn from each corpus for the test."
    )
    permutations: Annotated[int, Field(ge=99)] = 499
    level: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01, description="Drifted, if p is at most this: the share of false alarms."
    )
    tolerance: Annotated[float, Field(gt=0)] = Field(
        0.1, description="Greatest change of a column: relative for a length, absolute for a share."
    )


class RetrainParams(Tree):
    """What a scheduled run may do without asking."""

    policy: RetrainPolicy = Field("always", description="What makes a new student necessary.")
    catch_up: Literal["skip", "latest", "all"] = Field(
        "latest", description="Which missed runs of a schedule are made up for."
    )
    grace_s: Annotated[float, Field(ge=0, json_schema_extra={"unit": "s"})] = Field(
        900.0, description="A run that is less late than this has not been missed."
    )
    approval: Literal["none", "manual"] = Field(
        "none", description="`manual`: a person answers before a promotion."
    )
    approval_timeout_s: Annotated[int, Field(ge=1, json_schema_extra={"unit": "s"})] = Field(
        86_400, description="Without an answer in this time the champion stays."
    )
    drift: DriftParams = DriftParams()

    @model_validator(mode="after")
    def _the_test_can_reach_its_level(self) -> RetrainParams:
        least = 1 / (1 + self.drift.permutations)
        if least > self.drift.level:
            raise ParamsError(
                f"retrain.drift.level must be at least {least:.4g}, the least p that "
                f"{self.drift.permutations} permutations can give, got {self.drift.level:g}."
            )
        return self


class NotifyParams(Tree):
    """Who is notified of what: a Prefect block, or a webhook whose URL is in an environment variable."""

    on: tuple[NoticeEvent, ...] = Field(min_length=1)
    block: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="A Prefect block's document: slack-webhook/team.",
    )
    url_env: str | None = Field(
        None, pattern=r"^[A-Z][A-Z0-9_]*$", description="The variable's name, never the URL itself."
    )

    @model_validator(mode="after")
    def _one_receiver(self) -> NotifyParams:
        if (self.block is None) == (self.url_env is None):
            raise ParamsError("Each row of notify needs either `block` or `url_env`.")
        return self


class QuickParams(Tree):
    """What a quick run of a modality changes: the same path, in minutes."""

    teachers: tuple[str, ...] = Field(min_length=1, description="Those that are enabled.")
    put: dict[str, object] = Field(
        {}, description="Dotted keys of the modality's block, and the values that replace theirs."
    )
