"""What is measured of an image, how it is summed up, and the report that it makes."""
