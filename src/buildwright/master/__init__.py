"""One master process: its services, its membership, reload and shutdown.

master       starts and stops everything in order
membership   the lease: who this master is, and that it still is
sweeper      looks once a second for everything that waits
serving      the web server and the workers' endpoint on their ports
registry     the configuration's names and their ids in the store
"""
