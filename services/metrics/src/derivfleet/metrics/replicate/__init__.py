"""The store's copy at Supabase, where people look: ``tables`` reads what is new, ``remote`` writes it there, and
``replicator`` does so for ever, in order, from where it left off.

The store stays what the service works with; a Supabase that is away costs nothing but time.
"""
