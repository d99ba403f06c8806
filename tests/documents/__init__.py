"""The documents' command blocks, run as their readers type them."""
