"""Studies: each a file of presets and specs; nothing here runs."""
