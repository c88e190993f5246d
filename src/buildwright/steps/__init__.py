"""The step library: what a configuration's builds are made of.

shell        command lines on the worker
warnings     command lines whose warnings are counted
sequence     several command lines in one step
tests        test suites; trial, subunit: those of such runners; testresults: reports that they write
python       linters and documentation of Python projects
cmake        tools of C and C++ projects
vstudio      Visual Studio and MSBuild; robocopy
rpm, debian  packages
issues       what steps that count a tool's complaints share
patterns     the plain text that a regular expression's matches have in common
arguments    checks of arguments
factories    all steps of a common kind of project
newstyle     older names of steps
source       what steps that get sources share; tool: what all that run a version control tool do
git          sources from a git repository; gitdiff: what they change
gitforges    sources of what is proposed at GitHub, GitLab and Gerrit
gitwrite     commits, tags and pushes; gittool: what all steps of git share
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
