"""Array kernels from affinities to the merge tree: arrays in, arrays out, no I/O and no configuration."""
