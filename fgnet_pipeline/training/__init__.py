"""Training a model on labelled volumes."""
