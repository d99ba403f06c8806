"""What is behind /ui: the page's files, and the one stream that every open page reads."""
