"""Workers as the master sees them.

seats       one per attached worker: its commands, over all its connections
attaching   a worker's hello becomes an attachment
missing     workers that are away, and losing them
endpoint    the WebSocket that workers connect to
local       workers on the master's own machine
"""
