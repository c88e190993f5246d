"""What commands and steps write: chunked on the way in, sealed into compressed frames, read back by lines or
bytes.
"""
