"""What clusters there are, as columns of programs."""
