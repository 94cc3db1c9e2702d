"""Method comparison, ablation and quality over seeds. They use the package and are not part of the wheel."""
