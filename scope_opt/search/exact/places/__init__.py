"""The exact solver of placed instances: regions have places, and what is sent depends on them."""
