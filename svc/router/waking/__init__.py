"""Has instances on demand woken, as models or operators need them, and chooses those that cost least to wake."""
