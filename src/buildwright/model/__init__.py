"""Plain data that every room shares: results, properties, renderables, builders, the snapshot. No I/O."""
