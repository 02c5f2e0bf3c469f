"""What host and gateware agree on.  Needs neither Amaranth nor pyserial."""
