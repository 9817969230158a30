"""The demo: a pair of nodes under traders, killed and proven."""
