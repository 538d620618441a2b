"""Parquet files and the documents that say which of them count."""
