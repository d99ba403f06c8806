"""The page at /ui: its files, and the event stream that every open page reads."""
