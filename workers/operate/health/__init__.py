"""How a worker is, for those who ask over HTTP: probes, status words, a server."""
