"""The page that a person reads after a run, and the tables of committed results."""
