"""Training of FGNet in plain torch: targets, losses, augmentation, the loop and its checkpoints."""
