"""The data directory of a node: begun, resumed after an end, rolled, archived, upgraded and set aside."""
