"""The data that the programs exchange: registered services, their states, events and URLs."""
