"""Integrations with external services, each behind a protocol of the core."""
