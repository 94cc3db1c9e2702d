"""The tracker of a training run."""

from collections.abc import Mapping


class Tracker:
    """Records a run while it happens; this one, the default of every stage, records nothing.

    A tracker may be slow or unreachable but must never fail the run.
    """

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record the run's parameters; nested mappings are allowed."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record `metrics` after optimiser step `step`; a name may be a path such as `held_out/minilm-l6`."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record facts known at the end of the run, such as the student's sha256."""

    def close(self) -> None:
        """Write pending records and close the tracker."""


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings by dotted path.

    Examples:
        >>> flatten({"seed": 0, "loss": {"name": "mse"}})
        {'seed': 0, 'loss.name': 'mse'}
    """
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{path}.")
        else:
            leaves[path] = value
    return leaves
