"""Benchmarks: one subject a module. docs/PERFORMANCE.md has the command and the figure of each."""
