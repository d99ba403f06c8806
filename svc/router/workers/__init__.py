"""Several processes that relay for one router: the counts that they share, and the process that controls them."""
