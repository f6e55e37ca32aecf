"""What every family of programs has: its solver, and programs that others may take."""
