"""What is done to the tree of an image on its way to the root."""
