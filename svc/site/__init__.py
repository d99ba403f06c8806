"""One host's site: start, observe and stop its programs through its supervisord."""
