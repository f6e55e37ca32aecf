"""How good a heuristic is: gap, rank, losses."""
