"""The demo: real flights through a real worker, to look at."""
