"""The pure path: a batch in, one outcome a row out. No I/O, no clock, no Kafka."""
