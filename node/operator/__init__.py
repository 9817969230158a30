"""The operator's side of a node: requests, reports, health and metrics."""
