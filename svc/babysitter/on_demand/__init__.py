"""An instance on demand: what routers want of it, its orders from supervisord's extension, and how it falls asleep."""
