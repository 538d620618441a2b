"""The patterns side by side: one model, one topology, every way to have its decisions."""
