"""Volumes of other formats, converted to the project's Zarr block by block."""
