"""What per-example statistics cost, read from a committed benchmark."""
