"""The programs of the original InfiniLM-SVC under their old names. Each passes translated flags to an svc command."""
