"""From what runs to what the files say: what differs, and how it is brought about."""
