"""A soak test: thousands of turns, to find leaks of memory, threads and connections."""
