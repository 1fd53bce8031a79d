"""From usage to priced entries."""
