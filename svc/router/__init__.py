"""The one address that clients use."""
