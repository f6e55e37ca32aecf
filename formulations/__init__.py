"""Mathematical programs of the mapping problem; the only package to import modelling libraries."""
