"""The data and the ledger of claims."""
