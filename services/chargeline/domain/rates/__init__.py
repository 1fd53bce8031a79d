"""What rate cards say: reading, checking, comparing them."""
