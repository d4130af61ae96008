"""The study of ALSDGC: adaptive loss scaling with dynamic gradient clipping."""
