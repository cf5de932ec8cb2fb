"""Affinities -> fragments."""
