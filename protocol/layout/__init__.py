"""How the two kinds of cores lay out a network's weights, as the host sees them."""
