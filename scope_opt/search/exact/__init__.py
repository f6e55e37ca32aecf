"""Optima by recursion over clusters."""
