"""What runs the application inside the machine: a folder for each."""
