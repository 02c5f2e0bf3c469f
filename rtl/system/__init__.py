"""Everything around a core in a bitstream: UART, link, registers, and the top level."""
