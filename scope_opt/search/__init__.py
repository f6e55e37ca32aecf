"""Solvers that search schedules directly, without a modelling library."""
