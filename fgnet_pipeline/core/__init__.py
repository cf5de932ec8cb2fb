"""Configuration, plan, geometry, hashing and errors. This room imports no other room."""
