"""Terminal output: tables, progress, and a screen that is repainted in place."""
