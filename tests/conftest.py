"""Profiles of the property tests: CI draws the same examples every time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Instances are large examples, and compilation makes the first one slow.
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("dev", max_examples=80, deadline=None, suppress_health_check=_SLOW)
settings.register_profile(
    "fixed", settings.get_profile("dev"), derandomize=True, database=None, print_blob=True
)
settings.load_profile("fixed" if os.environ.get("CI") else "dev")
