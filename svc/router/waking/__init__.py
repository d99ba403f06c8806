"""Has instances on demand woken: which model needs how many, at which instance it costs least, and by an operator."""
