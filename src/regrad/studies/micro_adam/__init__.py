"""The study of Adam's preconditioner: mean, variance or a mixture."""
