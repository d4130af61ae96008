"""The user's guide: a per-example statistic of one's own."""
