"""Run a plan: find the blocks that are left, and hand them to workers."""
