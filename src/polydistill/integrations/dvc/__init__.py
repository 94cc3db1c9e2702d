"""DVC, called as a command and never imported."""
