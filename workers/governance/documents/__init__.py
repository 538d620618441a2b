"""Documents for people and tools, made from topology.yaml and the contracts: never by hand."""

from workers.governance.documents.every import documents, load_without_environment, stale, write

__all__ = ["documents", "load_without_environment", "stale", "write"]
