"""Every claim of speed, measured beside its peer in one run."""
