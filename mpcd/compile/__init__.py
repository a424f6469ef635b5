"""From the agreed logical plan to what runs: the physical plan, its hash, its program and exact cost, and `explain`."""
