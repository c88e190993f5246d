"""`python -m buildwright`."""

from buildwright.cli import main

main()
