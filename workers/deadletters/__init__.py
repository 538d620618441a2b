"""Dead letters after the fact: found, shown, probed, replayed, settled."""
