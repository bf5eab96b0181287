"""What ``derivfleet doctor`` checks.

``configuration`` is what a person sets, ``services`` what runs. ``all_checks`` puts them in order, and ``result`` says
what they come to.
"""
