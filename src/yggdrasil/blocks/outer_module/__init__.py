"""External models before and after the loop."""
