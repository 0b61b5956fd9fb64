"""What leaves the program: metric families, over HTTP."""
