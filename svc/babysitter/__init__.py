"""The sidecar that looks after one instance and tells the truth about it."""
