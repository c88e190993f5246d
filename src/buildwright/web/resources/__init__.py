"""The resource families of the data API, one module each: fields, paths, and what they are read from."""
