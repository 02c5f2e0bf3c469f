"""Everything that the host and the gateware must agree on.  Needs neither Amaranth nor pyserial."""
