"""Scores against labels, the merge tree of a segment, and pictures of a result."""
