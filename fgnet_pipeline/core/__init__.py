"""Configuration, plan, geometry, hashing and errors: imports nothing else of this package."""
