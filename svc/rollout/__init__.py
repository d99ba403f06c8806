"""Bringing what runs in line with the files, one instance after the other, without failing a request."""
