"""Bootstrap, paired differences and per-example influence: every interval of the project."""
