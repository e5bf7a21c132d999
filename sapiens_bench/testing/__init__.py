"""Stand-ins for tests: of this package, and of packages that add models, data sets or tasks to it."""
