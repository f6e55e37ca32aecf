"""Programs in words of no library: what emitters for CP-SAT and Pyomo have in common."""
