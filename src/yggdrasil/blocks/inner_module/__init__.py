"""Inner modules: networks that run inside the loop and add to the backbone."""
