"""One rule for each kind of layer: how its backward yields per-example gradients."""
