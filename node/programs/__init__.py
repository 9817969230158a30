"""Programs beside the core of a node, each in a process of its own: started, watched, logged, ended."""
