"""Volumes, output arrays, tables, masks and done records: the only room that imports zarr and funlib.persistence."""
