"""Figures, tables and claims: pure functions of records."""
