"""The verbs of the store, a module per room. Each verb is a unit of work, written once for every database."""
