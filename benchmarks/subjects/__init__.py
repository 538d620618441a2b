"""What is measured; each runs as a process of its own, the peers in environments of their own."""
