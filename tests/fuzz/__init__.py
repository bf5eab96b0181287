"""``make fuzz``: what comes from outside is bent and broken by the million; nothing may crash, hang or pile up.

``corpus`` holds what is whole, ``mutators`` break it, ``targets`` are what it is thrown at (``call_target`` over
gRPC at a gateway's process, the others in this one). ``fuzz_run`` plays the cases and watches their time; ``shrink``
makes a failing one small.
"""
