"""Looks at everything a worker needs, from where it is to run, and says what is wrong with it."""
