"""Scores and pictures of a segmentation."""
