"""What takes a compiler and is shipped ready: our programs in C, and kernels. Each lies with a record of what it was
made from, which a test compares with the sources."""
