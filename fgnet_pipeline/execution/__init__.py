"""Running a plan: what is left, and who computes it."""
