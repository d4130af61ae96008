"""Where runs execute: the same run(spec) under all."""
