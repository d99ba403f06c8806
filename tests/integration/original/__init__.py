"""Mixed fleets: programs of the original InfiniLM-SVC beside ours."""
