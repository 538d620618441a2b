"""What operators ask of a cluster, and have done to it."""
