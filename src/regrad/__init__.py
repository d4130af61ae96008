"""Reproductions of four papers that change a gradient between backward pass and update."""
