"""Probes fitted to standardised frozen embeddings: a linear model or a small network."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

Probe = Literal["linear", "mlp"]
VALIDATION_SHARE = 0.15
NETWORK = {
    "hidden_layer_sizes": (128,),
    "alpha": 1e-3,
    "early_stopping": True,
    "validation_fraction": VALIDATION_SHARE,
    "n_iter_no_change": 15,
    "max_iter": 300,
    "tol": 0.0,
    "random_state": 0,
}
"""scikit-learn's options for a network with one hidden layer and early stopping.

Part of the training split is used for validation. With `early_stopping` scikit-learn returns the weights of the best
validation score, not the last ones; `tests/evaluation/test_probe.py` checks this.
"""


def choose_probe(probe: Probe, linear: Any, network: Callable[[], Any]) -> Any:
    """Return the linear probe with standardised columns, or the network."""
    return network() if probe == "mlp" else on_standardised(linear)


def on_standardised(estimator: Any) -> Any:
    """Return an estimator preceded by standardisation of the columns."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), estimator)


def network_regressor() -> Any:
    """Return a network for regression that is trained on standardised targets."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    network = on_standardised(MLPRegressor(**NETWORK))
    return TransformedTargetRegressor(network, transformer=StandardScaler())


def network_classifier() -> Any:
    """Return a network for classification."""
    from sklearn.neural_network import MLPClassifier

    return on_standardised(MLPClassifier(**NETWORK))


def network_log_odds() -> Any:
    """Return a network for two classes that predicts the log-odds of the second."""
    from sklearn.neural_network import MLPClassifier

    class LogOdds(MLPClassifier):  # type: ignore[misc,unused-ignore]
        def predict(self, X: Any) -> Any:  # noqa: N803  scikit-learn's name
            share = np.clip(self.predict_proba(X)[:, 1], 1e-7, 1 - 1e-7)
            return np.log(share / (1 - share))

    return on_standardised(LogOdds(**NETWORK))
