"""Who acts: policies behind one protocol."""
