"""Starts, observes and stops the programs of one host's site through the site's supervisord."""
