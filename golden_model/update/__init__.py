"""Update rules, from a step's cost change to weight changes, and the memory they work on."""
