"""Processes of this machine: the fork server, signals, shared places."""
