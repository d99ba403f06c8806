"""Continues at another instance the streamed answers that an instance has broken off. All of it is pure."""
