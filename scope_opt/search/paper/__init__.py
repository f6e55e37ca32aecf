"""The paper's search and its baselines."""
