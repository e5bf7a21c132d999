"""Alpha matting for sapiens-bench."""
