"""What lies on disk: volumes, output arrays, tables, done records. The only rooms that import zarr and funlib."""
