"""The base of all packages: settings, errors, data classes, logs. It imports no other package."""
