"""Dashboards and alerts, written here once and as files by `python -m deploy.observability`.

Every name of a metric is taken from `workers.telemetry.names`: one that is renamed there breaks
this at once, not a dashboard at night.
"""
