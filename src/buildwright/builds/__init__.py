"""Builds: from a waiting request to a finished build that no process's death loses.

distributor   which request goes to which worker, and claiming it
assignment    what a runner is given: a claimed build, or one to be gone on with
runner        one build: its steps one after another, stopping, finishing, going on after a takeover
plan, outcome which steps a build has yet to run, and what it has come to
build*        a build as steps see it; its properties, its secrets, the data that it leaves behind
steprun       one step: its start, its locks, its end, starting again
steparguments rendering a step's arguments, and keeping them
requests      what a step asks of the outside: commands, work on the master, builds of other builders
stepwaits     what a step's code waits for, and what ends that
writer        what a build has to write, gathered up to a boundary and committed behind the fence
journal       what a step asked of the outside, and answering from it when the step is run again
step, shell   what steps are made of
commands      commands on workers
steplogs      a step's logs and who watches them
links         what the engine needs of a worker's connection
"""
