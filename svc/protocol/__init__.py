"""The data that the programs exchange: services, their states, events and URLs; descriptions of their APIs."""
