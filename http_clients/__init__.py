"""HTTP for all providers: connections, timeouts, retries, concurrency and circuit breakers."""
