"""The store's copy at Supabase, where people look: ``outbox`` reads what is new, ``supabase`` writes it there, and
``replicator`` does so for ever, in order, from where it left off. ``remote`` is what it asks of the other side.

The store stays what the service works with; a Supabase that is away costs nothing but time.
"""
