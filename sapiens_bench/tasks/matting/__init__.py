"""Alpha matting: which share of every pixel belongs to people."""
