"""Methods side by side on the same examples: who is better, by how much, and how sure that is."""
