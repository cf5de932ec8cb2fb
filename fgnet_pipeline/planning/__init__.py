"""What a run will need: blocks, memory, disk and hours, estimated before it starts."""
