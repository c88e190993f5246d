"""Builds: from a waiting request to a finished build that no process's death loses.

distributor   which request goes to which worker, and claiming it
runner        one build: its steps one after another, stopping, finishing, going on after a takeover
writer        what a build has to write, gathered up to a boundary and committed behind the fence
journal       what a step asked of the outside, and answering from it when the step is run again
step, shell   what steps are made of
commands      commands on workers
steplogs      a step's logs and who watches them
links         what the engine needs of a worker's connection
"""
