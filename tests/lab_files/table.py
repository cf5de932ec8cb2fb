"""The table of inputs as laboratories and their programs write them, with the values that are right to read."""

from lab_files.source_rows import SOURCE_ROWS
from lab_files.zarr_rows import ZARR_ROWS

TABLE = [*ZARR_ROWS, *SOURCE_ROWS]
