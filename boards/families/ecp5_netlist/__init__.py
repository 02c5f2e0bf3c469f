"""Changes to an ECP5 netlist between synthesis and placement."""
