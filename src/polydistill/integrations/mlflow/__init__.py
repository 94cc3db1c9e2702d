"""MLflow: the tracking store, the model registry, and the ledger kept in it."""
