"""The decisions of one host about instances on demand: which program runs on which GPUs, and which one gives way."""
