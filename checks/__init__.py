"""Tries for real what the service needs, and says what is wrong and where to mend it."""
