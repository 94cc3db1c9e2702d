"""What the gate wants to know of a student and no stage has measured: contamination, costs, a canary."""
