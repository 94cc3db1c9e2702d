"""The page of what each teacher adds, in Markdown."""

from polydistill.evaluation.attribution.contributions import GB, AttributionReport
from polydistill.evaluation.statistics.bootstrap import CONFIDENCE, RESAMPLES
from polydistill.evaluation.statistics.kinds import OVERALL
from polydistill.report.results import TEMPLATES


def markdown(report: AttributionReport) -> str:
    """Return two tables: the teachers in their order, and what each of them adds to every task."""
    template = TEMPLATES.get_template("attribution.md.jinja")
    named = {"confidence": CONFIDENCE, "resamples": RESAMPLES, "gigabyte": GB, "overall": OVERALL}
    return template.render(report=report, **named)
