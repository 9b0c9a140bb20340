"""What outlives a process: the database and all that is kept in it."""
