"""The command line: one module per group of commands, and the output to the console."""
