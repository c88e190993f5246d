"""Reading what test runners write: each format has a module with a generator of cases.

A reader gives cases as it comes to them and raises :class:`~buildwright.steps.reports.case.Malformed` where
it can't go on, so what a runner wrote before it was killed isn't lost. Nothing else may come out of a reader,
whatever it is fed.
"""
