"""Great Expectations as the checker of rules: an ephemeral context, and Data Docs for people."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from polydistill.contracts import Rule
from polydistill.errors import MissingExtraError, UnknownNameError
from polydistill.stages.validate import RuleResult


class GreatExpectationsChecker:
    """See `stages.validate.RuleChecker`.

    Args:
        data_docs: The folder of the pages; made anew.
    """

    def __init__(self, data_docs: Path) -> None:
        self._data_docs = data_docs

    def check(self, tables: Mapping[str, tuple[pd.DataFrame, Sequence[Rule]]]) -> list[RuleResult]:
        """See `stages.validate.RuleChecker.check`.

        Raises:
            UnknownNameError: A rule's type is no expectation.
        """
        try:
            import great_expectations as gx  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError("Validation", "validation") from error
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        source = context.data_sources.add_pandas("tables")
        validations, batches = [], {}
        for name, (frame, rules) in tables.items():
            suite = context.suites.add(gx.ExpectationSuite(name=name))
            for rule in rules:
                suite.add_expectation(_expectation(gx, rule))
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
            validations.append(
                context.validation_definitions.add(
                    gx.ValidationDefinition(name=name, data=batch, suite=suite)
                )
            )
            batches[name] = frame
        results = []
        for validation in validations:
            frame, rules = tables[validation.name]
            checkpoint = context.checkpoints.add(
                gx.Checkpoint(
                    name=validation.name,
                    validation_definitions=[validation],
                    result_format={"result_format": "SUMMARY"},
                )
            )
            outcome = checkpoint.run(batch_parameters={"dataframe": frame})
            found = next(iter(outcome.run_results.values())).results
            results += [_result(validation.name, one, rules) for one in found]
        self._write_docs(context)
        return results

    def _write_docs(self, context: Any) -> None:
        shutil.rmtree(self._data_docs, ignore_errors=True)
        self._data_docs.mkdir(parents=True)
        backend = {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(self._data_docs.resolve()),
        }
        site = {
            "class_name": "SiteBuilder",
            "store_backend": backend,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site(site_name="local", site_config=site)
        context.build_data_docs(site_names="local")


def _expectation(gx: Any, rule: Rule) -> Any:
    name = "".join(part.capitalize() for part in rule.type.split("_"))
    factory = getattr(gx.expectations, name, None)
    if factory is None:
        raise UnknownNameError("expectation", rule.type, [])
    return factory(**rule.kwargs, notes=rule.because)


def _result(table: str, outcome: Any, rules: Sequence[Rule]) -> RuleResult:
    config = outcome.expectation_config
    because = next(
        rule.because
        for rule in rules
        if rule.type == config.type
        and all(config.kwargs.get(k) == v for k, v in rule.kwargs.items())
    )
    return RuleResult(
        table=table,
        type=config.type,
        column=str(config.kwargs.get("column", "")),
        success=bool(outcome.success),
        count=int(outcome.result.get("unexpected_count", 0)),
        because=because,
    )
