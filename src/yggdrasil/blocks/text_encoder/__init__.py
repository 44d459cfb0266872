"""Text encoders, of which a family has several."""
