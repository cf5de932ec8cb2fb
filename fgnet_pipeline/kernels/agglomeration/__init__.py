"""A region adjacency graph -> its merge tree."""
