"""`python -m scope_opt` is `scope-opt`."""

from scope_opt.cli import main

main()
