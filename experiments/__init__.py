"""Method comparison, ablation and quality over seeds: they use the package and are not part of the wheel."""
