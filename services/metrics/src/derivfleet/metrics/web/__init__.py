"""The web side: one live page (``page/``), the snapshot that feeds it every second, and the report as JSON."""
