"""Read back everything that is stored, find damage, and repair it."""
