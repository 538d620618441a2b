"""Kafka event-stream enrichment workers."""

__version__ = "0.1.0"
