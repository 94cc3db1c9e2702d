"""MLflow: the tracking store, the model registry, and the ledger stored in it."""
