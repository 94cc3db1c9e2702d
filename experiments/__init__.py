"""Method comparison, ablation, and quality over seeds. These modules are not part of the wheel."""
