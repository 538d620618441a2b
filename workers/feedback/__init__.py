"""Decisions and their outcomes become the next model: collect, join, report, retrain, gate, run."""
