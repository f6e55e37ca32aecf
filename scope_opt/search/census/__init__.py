"""Whole spaces of schedules: enumerated, sampled, ranked."""
