"""The commands of ``scope-opt``, by what they are about; imports are inside the functions."""
