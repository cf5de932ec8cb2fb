"""Reading back what is stored, and mending it."""
