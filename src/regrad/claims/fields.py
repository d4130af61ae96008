"""Types of the fields in the ledger's tables."""

from typing import Annotated, Literal

from pydantic import Field

Side = Literal["lower", "higher"]
Preset = Literal["small", "medium", "full", "paper"]
Arms = Annotated[tuple[str, ...], Field(min_length=1)]
Ladder = Annotated[tuple[str, ...], Field(min_length=3)]
# Strict: TOML's true is not the number 1.
Number = Annotated[float, Field(strict=True)]
Margin = Annotated[float, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, gt=0, lt=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"
PROOF = r"^tests/[\w/]+\.py::test_\w+$"
