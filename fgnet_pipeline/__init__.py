"""FGNet pipeline: raw volume electron microscopy to one global segmentation, block by block."""

__version__ = "0.1.0"
