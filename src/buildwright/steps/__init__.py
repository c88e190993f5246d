"""The step library: what a configuration's builds are made of.

shell        command lines on the worker
git          sources from a git repository
transfer     files between master and worker
files        directories and files at the worker
setproperty  properties, also from a command's output
trigger      builds of other builders
master       command lines on the master
"""
