"""Teacher attribution: scores of the ensembles of all teachers, without each one, and of each alone."""
