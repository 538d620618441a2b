"""Does a sidecar disturb what it stands beside? Looked up, measured, and after it is gone."""
