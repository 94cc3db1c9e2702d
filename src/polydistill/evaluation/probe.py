"""What is fitted to frozen embeddings beside the linear probes: a small network, on standardised columns."""

from __future__ import annotations

from typing import Any, Literal

Probe = Literal["linear", "mlp"]
HIDDEN = 128
VALIDATION_SHARE = 0.15
PATIENCE = 15
"""In epochs."""


def network_options(seed: int = 0) -> dict[str, Any]:
    """Return scikit-learn's options of one hidden layer, stopped on a validation part of the training split.

    With `early_stopping` scikit-learn gives back the weights of the best validation score, not the last ones;
    `tests/evaluation/test_probe.py` checks that it does.
    """
    return {
        "hidden_layer_sizes": (HIDDEN,),
        "alpha": 1e-3,
        "early_stopping": True,
        "validation_fraction": VALIDATION_SHARE,
        "n_iter_no_change": PATIENCE,
        "max_iter": 300,
        "tol": 0.0,
        "random_state": seed,
    }


def network_regressor() -> Any:
    """Return a network whose targets are standardised while it learns."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = make_pipeline(StandardScaler(), MLPRegressor(**network_options()))
    return TransformedTargetRegressor(network, transformer=StandardScaler())


def network_classifier() -> Any:
    """Return a network that gives classes."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), MLPClassifier(**network_options()))


def network_log_odds() -> Any:
    """Return a network of two classes that predicts the second one's log-odds."""
    import numpy as np
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    class LogOdds(MLPClassifier):  # type: ignore[misc,unused-ignore]
        def predict(self, X: Any) -> Any:  # noqa: N803  scikit-learn's name
            share = np.clip(self.predict_proba(X)[:, 1], 1e-7, 1 - 1e-7)
            return np.log(share / (1 - share))

    return make_pipeline(StandardScaler(), LogOdds(**network_options()))
