"""What the programs exchange: registered services, their states, events and URLs."""
