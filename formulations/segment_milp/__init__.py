"""Programs of single segments, under a shortest path over cuts."""
