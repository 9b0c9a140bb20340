"""A stand-in for Salesforce: OAuth, the Agent API, and an agent that answers from a file."""
