"""Trainer wiring: tensors only, no files of the store, no services."""
