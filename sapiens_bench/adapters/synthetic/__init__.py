"""People rendered from the shipped kit."""
