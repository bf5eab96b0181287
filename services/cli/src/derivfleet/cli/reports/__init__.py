"""Reports of the metrics service.

``request`` says which one is asked for, ``tables`` what it says, and ``formats`` how it is written down.
"""
