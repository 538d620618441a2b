"""What it takes to deploy: image, compose, chart, overlays, dashboards, alerts."""
