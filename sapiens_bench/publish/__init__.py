"""What leaves a run folder for other people: the page, tables with their emphasis, exports, the site; no torch."""
