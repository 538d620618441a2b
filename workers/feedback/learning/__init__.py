"""From labelled decisions to the next version of a model."""
