"""The HTML report of a run, and the tables of committed results."""
