"""Change sources: where changes come from. Pollers look for them, listeners are told; hooks and the API bring
them.

A change source of the configuration (:mod:`~buildwright.changes.base`) says what a poll found; one
service (:mod:`~buildwright.changes.service`) polls, and stores changes and the source's memory in one
unit.
"""
