"""Training of FGNet in torch: patches and their augmentation, targets, losses, the loop and its checkpoints."""
