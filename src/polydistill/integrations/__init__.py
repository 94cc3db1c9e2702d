"""Integrations with outside services, each behind a protocol of the core."""
