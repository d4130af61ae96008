"""The study of DGS: an equation, four steps and a program, audited and run."""
