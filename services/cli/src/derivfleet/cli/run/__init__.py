"""One run of a fleet as local processes.

``plan`` is decided first. ``startup`` brings the services up under a ``supervisor``, ``loop`` shows them until the
end, and ``shutdown`` ends them and sums up. ``ports`` is where they listen, ``run_dir`` where they write, and
``environments`` what they are told. ``program`` starts a process, and ``fork_server`` a bot. ``parent_death`` lets
none outlive the run, and ``restarts`` decides whether one is started again. ``service_log`` is what one said last.
``fleet_status`` and ``memory`` are what is seen of them meanwhile, ``summary`` is what is kept. ``simulator_client``
reads the simulator's ledger, and ``ledger_comparison`` compares it with what the fleet believes.
"""
