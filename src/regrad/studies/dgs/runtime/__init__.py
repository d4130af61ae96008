"""What this study's specs name; the only folder of the room that may import torch."""
