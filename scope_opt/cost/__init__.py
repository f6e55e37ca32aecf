"""What layers, transfers and DRAM cost: networks and packages become latency and energy tables."""
