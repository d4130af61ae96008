"""The kinds of test a claim may name, each a pure function of its fields and plain rows."""
