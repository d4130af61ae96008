"""The study of where the sign goes."""
