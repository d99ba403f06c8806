"""Facts into findings, a file for each subject; all of it is pure."""
