"""One run of a fleet as local processes.

``plan`` is decided first. ``startup`` brings the services up under a ``supervisor``, ``loop`` shows them until the
end, and ``shutdown`` ends them and sums up. ``ports`` is where they listen, ``run_dir`` where they write, and
``environments`` what they are told. ``parent_death`` lets none outlive the run; ``restarts`` decides whether one is
started again.
``fleet_status`` and ``memory`` are what is seen of them meanwhile, ``summary`` is what is kept. ``simulator_client``
reads the simulator's ledger, and ``ledger_comparison`` compares it with what the fleet believes.
"""
