"""The programs of the original InfiniLM-SVC under their old names: each translates its flags for a command of svc."""
