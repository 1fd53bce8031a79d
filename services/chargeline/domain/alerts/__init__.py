"""What owners are told, and by which channel."""
