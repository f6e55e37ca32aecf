"""Reports of schedules and studies: HTML pages that need neither a server nor a network."""
