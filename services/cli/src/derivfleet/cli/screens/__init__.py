"""What commands print for people: one file for each thing that is shown.

Messages of the services go in, tables and lines come out. Only ``console`` and ``quota_watch`` touch a terminal.
"""
