"""The ledger of claims: what each asks for, the tests that decide it, and verdicts as tables and words."""
