"""Where models are, in which dtype, and how they come there."""
