"""A stand-in for Salesforce: OAuth, the Agent API, and the help desk behind it."""
