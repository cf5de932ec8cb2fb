"""One file a group of commands; cli.py lists them. Heavy imports stay inside the functions."""
