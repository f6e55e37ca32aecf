"""Constraint programs, solved by CP-SAT."""
