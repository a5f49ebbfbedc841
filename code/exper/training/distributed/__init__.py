"""Train with several processes: devices, collective operations, the launcher."""
