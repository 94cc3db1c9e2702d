"""Integration of MLflow: the tracking store, the model registry, and the ledger of the registry."""
