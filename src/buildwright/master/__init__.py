"""One master process: its services, its membership, reload and shutdown.

master       a process on a basedir: configuration, store, core and ports, in their order
core         what a master does once it has a store and a configuration
membership   the lease: who this master is, and that it still is
sweeper      looks once a second for everything that waits
serving      the web server and the workers' endpoint on their ports
registry     the configuration's names and their ids in the store
"""
