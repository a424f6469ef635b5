"""The complement: what is left of a cell when an output's persons are taken out must be releasable too, or empty.

Beside SUM(x) stand, in the same answer or in the next, the counts of the whole cell.  Whoever knows a cell's total and
the total over the persons with a non-NULL x (or those that pass a FILTER) knows the total over the others by
subtraction.  So every such remainder is counted by the owners as a cohort of its own and must pass the floor and
`min_owners` (rule 18); one that is empty passes only where zeros are shown.  Which remainders there are, between the
outputs of one request too, `mpcd.plan.isolation` finds out.
"""

NAME = "complement"
