"""HTTP to devices: one request, whom to believe, and how long to wait."""
