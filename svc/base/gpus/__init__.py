"""The GPUs of this machine, as the vendors' own tools report them: one module for each tool."""
