"""Words: Markdown, splitting, languages and our own sentences."""
