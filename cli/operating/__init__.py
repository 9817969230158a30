"""The operator of a running node: requests, views and reports."""
