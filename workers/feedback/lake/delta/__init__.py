"""The lake's files as Delta tables, for readers who do not know our documents."""
