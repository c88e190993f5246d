"""The data API, its events, sign-in by token, metrics and the plain first page."""
