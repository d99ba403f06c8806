"""The commands of `svc`: each file parses one command, calls a library and prints."""
