"""The top level compiled by Verilator, with its UART on a pseudo-terminal."""
