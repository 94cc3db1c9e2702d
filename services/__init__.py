"""Real services on loopback, without Docker: for `make services` and `make test-services`."""
