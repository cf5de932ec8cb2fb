"""Estimates of the blocks, memory, disk and hours of a run, before it starts."""
