"""The synthesised netlist, simulated in place of the design."""
