"""Method comparison, ablation, and measurements of a student. These modules are not part of the wheel."""
