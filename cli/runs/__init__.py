"""Markets without a network: files of commands, of real order flow, and scenarios."""
