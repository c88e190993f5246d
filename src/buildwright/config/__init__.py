"""Configurations: run a file once, collect every error with its place, freeze the result into a snapshot."""
