"""The database and its tables: everything that must survive the end of a process."""
