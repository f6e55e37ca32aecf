"""Fronts of latency and energy."""
