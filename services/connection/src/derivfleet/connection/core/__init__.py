"""What is decided about a socket without I/O: how healthy it is, and whether another login fits."""
