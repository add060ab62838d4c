"""A small world: simulated network, disk and workers behind the node's own seams."""
