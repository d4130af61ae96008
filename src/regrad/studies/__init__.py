"""One room a study: what is asked for, what came of it, and what its runs execute; one shape for all."""
