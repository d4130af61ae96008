"""Loss scaling and gradient clipping."""
