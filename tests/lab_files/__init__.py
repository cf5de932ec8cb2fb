"""Files as laboratories and their programs write them, small and in memory, and what is right to read from them."""
