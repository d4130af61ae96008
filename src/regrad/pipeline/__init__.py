"""From notebooks to the report: execution, freshness, typesetting."""
