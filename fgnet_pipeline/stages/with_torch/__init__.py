"""Modules that import torch. The registry imports every module of the folder above, and commands do without torch."""
