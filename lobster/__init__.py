"""Real order flow: files of LOBSTER and ITCH become commands, and the books are compared with the published ones."""
