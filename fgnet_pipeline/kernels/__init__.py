"""Array kernels from affinities to the segmentation: arrays in, arrays out, no files and no configuration."""
