"""Studies: many instances, many solvers, a record of every solve."""
