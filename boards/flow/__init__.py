"""From a design to a bitstream: synthesis, placement, timing closure and the report."""
