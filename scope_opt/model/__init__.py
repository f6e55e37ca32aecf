"""What the problem is: network, package, latency tables, instance files."""
