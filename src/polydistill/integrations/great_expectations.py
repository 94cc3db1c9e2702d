"""Checks rules with Great Expectations, in an ephemeral context, and writes Data Docs.

The templates of Data Docs escape some texts and not others. So no markup of a table reaches them.
"""

import html
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from polydistill.contracts import Rule
from polydistill.errors import MissingExtraError, UnknownNameError
from polydistill.stages.validate import Part, RuleResult, result_of

MARKUP = re.compile(r"[<>&\"'`/\\~]")
"""Characters of a name that have a meaning in HTML, in a script or in a path."""


class GreatExpectationsChecker:
    """See `stages.validate.RuleChecker`.

    Args:
        data_docs: The folder for the Data Docs pages; an existing folder is replaced.
    """

    def __init__(self, data_docs: Path) -> None:
        self._data_docs = data_docs

    def check(self, parts: Iterable[Part]) -> list[list[RuleResult]]:
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
        results, n_parts = list[list[RuleResult]](), Counter[str]()
        for name, (frame, rules) in parts:
            n_parts[name] += 1
            shown = _plain(name) + (f" part {n_parts[name]}" if n_parts[name] > 1 else "")
            expectations = [_expectation(gx, rule, number) for number, rule in enumerate(rules)]
            suite = context.suites.add(gx.ExpectationSuite(name=shown, expectations=expectations))
            batch = source.add_dataframe_asset(shown).add_batch_definition_whole_dataframe("whole")
            definition = gx.ValidationDefinition(name=shown, data=batch, suite=suite)
            outcome = context.validation_definitions.add(definition).run(
                batch_parameters={"dataframe": frame.rename(columns=_plain)},
                result_format="SUMMARY",
            )
            found: list[Any] = outcome.results
            found.sort(key=lambda one: int(one.expectation_config.meta["number"]))
            pairs = zip(rules, found, strict=True)
            cached = source.get_execution_engine().batch_manager  # it would keep every table
            cached.reset_batch_cache()
            cached.batch_data_cache.clear()
            results.append([_result(name, frame, *pair) for pair in pairs])
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


def _result(table: str, frame: pd.DataFrame, rule: Rule, outcome: Any) -> RuleResult:
    return result_of(
        table,
        frame,
        rule,
        success=bool(outcome.success),
        count=int(outcome.result.get("unexpected_count", 0)),
        rows=outcome.result.get("partial_unexpected_index_list") or [],
    )
