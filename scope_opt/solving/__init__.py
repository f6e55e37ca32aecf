"""How anything is solved: the solver protocol, monitors, results, processes."""
