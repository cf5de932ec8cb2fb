"""The augmentations, one file each; `fgnet.training.augmentation.augmentations` finds them.

To add one: a file here with a frozen dataclass of settings, a function and the constant `AUGMENTATION`, and its test.
Torch is imported inside functions only. `missing_part` is an example to copy.
"""
