"""Volumes of other formats, the sample of the demo, and a generator of test volumes."""
