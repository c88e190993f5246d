"""The store: the only truth. See :mod:`buildwright.store.unit` for how it is written to."""
