"""The same path over files: a year of history, a training set, a what-if."""
