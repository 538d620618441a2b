"""What makes contracts hard to read or hard to change, and what does not fit together."""
