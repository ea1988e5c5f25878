"""Ways in: ICE lite on the worker's port over UDP and TCP, or full ICE for each viewer."""
