"""The five stages: each binds a kernel to the store for one block."""
