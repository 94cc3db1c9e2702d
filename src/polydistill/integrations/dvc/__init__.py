"""Integration with DVC, which is run as a command and never imported."""
