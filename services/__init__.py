"""Real services on the loopback interface, without Docker, for `make services` and `make test-services`."""
