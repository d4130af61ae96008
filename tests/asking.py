"""What a claim's study asks for after a look, all looks before it asked in turn."""

from regrad.claims.looks import open_runs


def asked(claims, claim_rows, records, looks, look=0):
    """Return the (part, arm) that need the seeds of the look after this one."""
    left, opened = claims, set()
    for k in range(look + 1):
        left, opened = open_runs(claims, claim_rows, records, looks, k, left=left, preset="medium", device="cpu")
    return opened
