"""The verbs of the store, by room: each a unit of work (see :mod:`buildwright.store.unit`)."""
