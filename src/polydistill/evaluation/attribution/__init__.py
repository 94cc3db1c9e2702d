"""What each teacher adds to the others: the ensemble of all, without each, and each alone."""
