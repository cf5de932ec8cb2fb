"""Job arrays on a cluster."""
