"""The command line: one module per group of commands, and console output."""
