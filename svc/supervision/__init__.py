"""What runs inside supervisord or beside it: restarts, launching, control."""
