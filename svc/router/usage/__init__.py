"""The ledger: what each key and user has used of each model, counted in memory and kept in a SQLite file."""
