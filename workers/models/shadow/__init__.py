"""A challenger scores what the champion scored: afterwards, elsewhere, and with no say."""
