"""Plain data that every room shares: results, properties, renderables, builders, workers, locks, the snapshot. No I/O."""
