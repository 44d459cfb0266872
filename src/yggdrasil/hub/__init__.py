"""Where models come from: folders, hubs, objects, the model in the box."""
