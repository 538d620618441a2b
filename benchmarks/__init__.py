"""Side-by-side runs of the same job on the same broker: `make bench`."""
