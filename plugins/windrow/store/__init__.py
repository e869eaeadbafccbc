"""Where a run's state is durable: MongoDB."""
