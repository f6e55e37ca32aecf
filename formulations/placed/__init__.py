"""Placed instances: paths of clusters where regions lie, under the links that they share."""
