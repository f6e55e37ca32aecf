"""Event-driven replay of schedules."""
