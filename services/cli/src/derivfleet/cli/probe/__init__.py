"""What ``derivfleet probe`` does.

``session`` explains, asks and tells; ``process`` runs the probe, and ``progress`` shows how far it is.
"""
