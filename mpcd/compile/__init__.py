"""From the agreed logical plan to what runs: the physical plan, its hash, its exact cost, and the words of
`explain`."""
