"""From a region adjacency graph to its merge tree."""
