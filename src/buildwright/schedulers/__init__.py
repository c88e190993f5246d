"""Schedulers: what turns changes, clocks, finished buildsets and people into build requests.

A scheduler of the configuration (:mod:`~buildwright.schedulers.base`) is a value that decides: from its
inbox, its state and the time, as a pure function. A runner (:mod:`~buildwright.schedulers.runner`) brings
these together, plans the buildsets (:mod:`~buildwright.schedulers.plan`) and makes the decision happen in
one unit of the store. One service (:mod:`~buildwright.schedulers.service`) runs all of a master.
"""
