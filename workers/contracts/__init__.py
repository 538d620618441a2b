"""What an event may look like: schemas, framing, and the codec between bytes and columns."""
