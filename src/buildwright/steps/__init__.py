"""The step library: what a configuration's builds are made of.

shell        command lines on the worker
git          sources from a git repository
transfer     files between master and worker
uploads      directories, and several files at once, to the master
arriving     the files of the master that transfers write and read
unpacking    archives that come from workers
files        directories and files at the worker
setproperty  properties, also from a command's output
checks       a condition, a value: to look at
http         requests over HTTP, sent by the master
trigger      builds of other builders
master       command lines on the master
"""
