"""The statistics behind every interval of the project: bootstrap, paired differences and per-example influence."""
