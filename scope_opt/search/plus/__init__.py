"""The paper's scheme with better decisions."""
