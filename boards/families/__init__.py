"""FPGA families: an object per family brings everything that differs between them."""
