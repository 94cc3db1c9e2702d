"""Checks rules with Great Expectations, in an ephemeral context, and writes Data Docs.

The templates of Data Docs escape some texts and not others. So no markup of a table reaches them.
"""

import html
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from polydistill.contracts import Rule
from polydistill.errors import MissingExtraError, UnknownNameError
from polydistill.stages.validate import EXAMPLES, RuleResult

MARKUP = re.compile(r"[<>&\"'`/\\~]")
"""Characters of a name that have a meaning in HTML, in a script or in a path."""


class GreatExpectationsChecker:
    """See `stages.validate.RuleChecker`.

    Args:
        data_docs: The folder for the Data Docs pages; an existing folder is replaced.
    """

    def __init__(self, data_docs: Path) -> None:
        self._data_docs = data_docs

    def check(self, tables: Mapping[str, tuple[pd.DataFrame, Sequence[Rule]]]) -> list[RuleResult]:
        """See `stages.validate.RuleChecker.check`.

        Raises:
            UnknownNameError: A rule's type is not an expectation of Great Expectations.
        """
        try:
            import great_expectations as gx
        except ImportError as error:
            raise MissingExtraError("Validation", "validation") from error
        context = gx.get_context(mode="ephemeral")
        variables: Any = context.variables
        variables.progress_bars = {"globally": False}
        source = context.data_sources.add_pandas("tables")
        suites = {  # build all suites first, so that an unknown rule raises before any check runs
            name: [_expectation(gx, rule, number) for number, rule in enumerate(rules)]
            for name, (_, rules) in tables.items()
        }
        results: list[RuleResult] = []
        for name, (frame, rules) in tables.items():
            shown = _plain(name)
            suite = context.suites.add(gx.ExpectationSuite(name=shown, expectations=suites[name]))
            batch = source.add_dataframe_asset(shown).add_batch_definition_whole_dataframe("whole")
            definition = gx.ValidationDefinition(name=shown, data=batch, suite=suite)
            outcome = context.validation_definitions.add(definition).run(
                batch_parameters={"dataframe": frame.rename(columns=_plain)},
                result_format="SUMMARY",
            )
            found: list[Any] = outcome.results
            found.sort(key=lambda one: int(one.expectation_config.meta["number"]))
            results += [_result(name, *pair) for pair in zip(rules, found, strict=True)]
        self._write_docs(context)
        return results

    def _write_docs(self, context: Any) -> None:
        store = context.validation_results_store
        for key in store.list_keys():
            outcome = store.get(key)
            for one in outcome.results:
                one.result, one.exception_info = _escaped(one.result), _escaped(one.exception_info)
            store.set(key, outcome)
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


def _expectation(gx: Any, rule: Rule, number: int) -> Any:
    registry = gx.expectations.registry
    known = registry.list_registered_expectation_implementations()
    if rule.type not in known:
        raise UnknownNameError("expectation", rule.type, known)
    kwargs = {
        key: _plain(value) if key == "column" else value for key, value in rule.kwargs.items()
    }
    return registry.get_expectation_impl(rule.type)(
        **kwargs, notes=rule.because, meta={"number": number}
    )


def _plain(name: Any) -> Any:
    """Return a name of a table or column with each character of `MARKUP` as its code: `a<b` is `a~3Cb`."""
    return MARKUP.sub(lambda found: f"~{ord(found[0]):X}", name) if isinstance(name, str) else name


def _escaped(value: Any) -> Any:
    """Return a part of a result with all strings in it escaped for HTML."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list | tuple) else value


def _result(table: str, rule: Rule, outcome: Any) -> RuleResult:
    rows = outcome.result.get("partial_unexpected_index_list") or []
    return RuleResult(
        table=table,
        type=rule.type,
        column=str(rule.kwargs.get("column", "")),
        success=bool(outcome.success),
        count=int(outcome.result.get("unexpected_count", 0)),
        because=rule.because,
        rows=tuple(int(row) for row in rows[:EXAMPLES]),
    )
