"""What the lab's playgrounds draw: plain functions from a state to a figure, widgets only around them."""
