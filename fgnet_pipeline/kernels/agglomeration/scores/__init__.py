"""Scores by which the edges of a region adjacency graph are compared: one file per score."""
