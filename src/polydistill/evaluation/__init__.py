"""Benchmark tasks, scores, statistics, and measurements of students, teachers and corpora."""
