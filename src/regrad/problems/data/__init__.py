"""Readers of real data, fetched by package name and verified by checksum."""
