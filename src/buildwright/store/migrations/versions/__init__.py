"""The schema, step by step: `buildwright.store.migrate` runs these, `tools/new_migration.py` writes them."""
