"""Rollouts update the running programs to match the files, one instance after the other, without failed requests."""
