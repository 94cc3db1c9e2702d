"""Benchmark tasks, scores, statistics, and what is measured about students, teachers and corpora."""
