"""Hints of what changed: they make somebody look earlier, nothing leans on them."""
