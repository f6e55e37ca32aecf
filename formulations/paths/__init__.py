"""Shortest paths over columns: bounds and schedules without a library."""
