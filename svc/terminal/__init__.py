"""Terminal output: tables, progress, and a screen that is painted again in place."""
