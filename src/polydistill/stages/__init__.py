"""The stages: one function per stage, which reads and writes files and returns a report."""
