"""Primary and standby: the arbiter that decides which node is primary, and its lease."""
