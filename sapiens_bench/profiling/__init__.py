"""What a model costs: operations, memory, time, and how far that is from what the device can do."""
