"""A node: the market's process as a whole, and what its operator sees of it and may ask of it."""
