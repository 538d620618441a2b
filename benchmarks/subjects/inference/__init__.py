"""Libraries that score a LightGBM model, each in an environment of its own."""
