"""Which training sample a step uses: the order, the resident window, and its nonzero inputs."""
