"""Many solves and a record of each: instances by solvers by seeds."""
