"""Text: Markdown, splitting, languages and the sentences of the service."""
