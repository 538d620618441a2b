"""HTTP around the path: the same decisions, asked for in a request."""
