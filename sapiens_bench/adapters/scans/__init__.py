"""Ground truth rendered from raw scans."""
